"""Random resized crop: a box of random area and aspect, resized to the view (Going Deeper with
Convolutions, 2014).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from stages.core.image.views.warp import Warp
from stages.core.views.draws import Drawn, OpSettings, Range, coin, integers

TRIES = 10


class Settings(OpSettings):
    scale: Range = (0.08, 1.0)
    """Share of the image's area."""
    ratio: Range = (3 / 4, 4 / 3)
    """Width ÷ height, log-uniform."""


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """``box`` ``(n, 4)``: top, left, height, width in whole pixels; the first of ten tries that
    fits, else the centre.
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
    w, h = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(dim=1, keepdim=True)
    central = _central(height, width, settings.ratio)
    h = torch.where(fits.any(dim=1), h.gather(1, first).squeeze(1), central[0])
    w = torch.where(fits.any(dim=1), w.gather(1, first).squeeze(1), central[1])
    top, left = integers(height - h, generator), integers(width - w, generator)
    top = torch.where(fits.any(dim=1), top, (height - h) // 2)
    left = torch.where(fits.any(dim=1), left, (width - w) // 2)
    on = coin(n, settings.probability, generator)
    whole = torch.tensor([0, 0, height, width])
    return {
        "on": on,
        "box": torch.where(on.unsqueeze(1), torch.stack([top, left, h, w], dim=1), whole),
    }


def place(warp: Warp, drawn: Drawn) -> Warp:
    """Read the box only."""
    return replace(warp, box=drawn["box"].float())


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Crop and resize back to the size the images had."""
    return place(Warp.of(images), drawn).apply(images, images.shape[2:])


def _central(height: int, width: int, ratio: Range) -> tuple[int, int]:
    """The largest centred box of an allowed aspect."""
    if width / height < ratio[0]:
        return round(width / ratio[0]), width
    if width / height > ratio[1]:
        return height, round(height * ratio[1])
    return height, width
