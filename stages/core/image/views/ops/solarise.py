"""Invert what is brighter than a threshold."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.views.draws import Drawn, OpSettings, Probability, coin, where_on


class Settings(OpSettings):
    probability: Probability = 0.2
    threshold: Probability = 0.5


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """``threshold`` ``(n,)``."""
    return {
        "on": coin(n, settings.probability, generator),
        "threshold": torch.full((n,), settings.threshold),
    }


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Invert pixels at or above the threshold."""

    def invert(some: Tensor, rows: Tensor) -> Tensor:
        threshold = drawn["threshold"][rows].to(some.device).view(-1, 1, 1, 1)
        return torch.where(some >= threshold, 1 - some, some)

    return where_on(images, drawn["on"], invert)
