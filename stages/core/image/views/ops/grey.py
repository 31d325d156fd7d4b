"""Drop the colour: every channel becomes the luminance."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.views.draws import Drawn, OpSettings, Probability, coin, where_on

LUMINANCE = (0.2989, 0.587, 0.114)
"""ITU-R 601-2 luma weights."""


class Settings(OpSettings):
    probability: Probability = 0.2


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """Only which images."""
    return {"on": coin(n, settings.probability, generator)}


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Grey the chosen images."""
    return where_on(images, drawn["on"], lambda some, _: luminance(some).expand_as(some))


def luminance(images: Tensor) -> Tensor:
    """``(N, 1, H, W)`` of ``(N, 3, H, W)``; a grey image is its own."""
    if images.shape[1] == 1:
        return images
    grey: Tensor = images[:, 0:1] * LUMINANCE[0]
    return grey.add_(images[:, 1:2], alpha=LUMINANCE[1]).add_(images[:, 2:3], alpha=LUMINANCE[2])
