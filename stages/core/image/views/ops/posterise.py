"""Keep a few levels per channel only."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from stages.core.views.draws import Drawn, OpSettings, Probability, coin, column, where_on


class Settings(OpSettings):
    probability: Probability = 0.2
    bits: Annotated[int, Field(ge=1, le=8)] = 4


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """``bits`` ``(n,)``."""
    return {"on": coin(n, settings.probability, generator), "bits": torch.full((n,), settings.bits)}


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Round down to one of 2^bits levels."""

    def reduce(some: Tensor, rows: Tensor) -> Tensor:
        levels = column(2 ** drawn["bits"], rows, some)
        return torch.minimum((some * levels).floor_(), levels - 1) / levels

    return where_on(images, drawn["on"], reduce)
