"""Mirror left and right, or top and bottom."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from stages.core.image.views.warp import Warp
from stages.core.views.draws import Drawn, OpSettings, Probability, coin


class Settings(OpSettings):
    probability: Probability = 0.5
    vertical: bool = False


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """``mirrored`` ``(n, 2)``: vertically, horizontally."""
    on = coin(n, settings.probability, generator)
    mirrored = torch.zeros(n, 2, dtype=torch.bool)
    mirrored[:, 0 if settings.vertical else 1] = on
    return {"on": on, "mirrored": mirrored}


def place(warp: Warp, drawn: Drawn) -> Warp:
    """Mirror what is read; a second flip of the same axis undoes the first."""
    return replace(warp, mirrored=warp.mirrored ^ drawn["mirrored"])


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Mirror the chosen images."""
    return place(Warp.of(images), drawn).apply(images, images.shape[2:])
