"""Erase a rectangle (Random Erasing Data Augmentation, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.views.draws import Drawn, OpSettings, Probability, Range, coin, integers

TRIES = 10


class Settings(OpSettings):
    probability: Probability = 0.5
    scale: Range = (0.02, 0.33)
    """Share of the image's area."""
    ratio: Range = (0.3, 3.3)
    """Height ÷ width, log-uniform."""
    value: Probability = 0.0
    """What stands there afterwards; 0 is black."""


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """``box`` ``(n, 4)``: top, left, height, width; the first of ten tries that fits, else nothing
    is erased.
    """
    height, width = size
    area = (
        height
        * width
        * (
            torch.rand(n, TRIES, generator=generator) * (settings.scale[1] - settings.scale[0])
            + settings.scale[0]
        )
    )
    logs = torch.tensor(settings.ratio).log()
    ratio = (torch.rand(n, TRIES, generator=generator) * (logs[1] - logs[0]) + logs[0]).exp()
    h, w = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (h < height) & (w < width)
    first = fits.int().argmax(dim=1, keepdim=True)
    on = coin(n, settings.probability, generator) & fits.any(dim=1)
    h, w = (side.gather(1, first).squeeze(1) * on for side in (h, w))
    top, left = integers(height - h, generator), integers(width - w, generator)
    return {
        "on": on,
        "box": torch.stack([top, left, h, w], dim=1),
        "value": torch.full((n,), settings.value),
    }


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Fill the box of each chosen image."""
    height, width = images.shape[2:]
    top, left, h, w = drawn["box"].to(images.device).view(-1, 4, 1, 1).unbind(dim=1)
    y = torch.arange(height, device=images.device).view(1, -1, 1)
    x = torch.arange(width, device=images.device).view(1, 1, -1)
    inside = (y >= top) & (y < top + h) & (x >= left) & (x < left + w)
    return torch.where(
        inside.unsqueeze(1), drawn["value"].to(images.device).view(-1, 1, 1, 1), images
    )
