"""Colour jitter: brightness, contrast, saturation and hue, each image in an order of its own
(A Simple Framework for Contrastive Learning of Visual Representations, 2020)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from stages.core.image.views.ops.grey import luminance
from stages.core.views.draws import Drawn, OpSettings, Probability, coin, column, uniform, where_on

Change = Callable[[Tensor, Tensor], Tensor]
Strength = Annotated[float, Field(ge=0)]


class Settings(OpSettings):
    probability: Probability = 0.8
    brightness: Strength = 0.4
    contrast: Strength = 0.4
    saturation: Strength = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """A factor per image and kind (1 changes nothing; for ``hue`` 0), and the ``order`` ``(n, 4)``
    they come in.
    """
    on = coin(n, settings.probability, generator)
    drawn = {"on": on}
    for name in ("brightness", "contrast", "saturation"):
        strength = getattr(settings, name)
        drawn[name] = torch.where(
            on, uniform(n, max(0.0, 1 - strength), 1 + strength, generator), 1.0
        )
    drawn["hue"] = uniform(n, -settings.hue, settings.hue, generator) * on
    drawn["order"] = torch.rand(n, 4, generator=generator).argsort(dim=1)
    return drawn


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Jitter float images in 0…1; saturation and hue need three channels."""
    kinds: list[tuple[Change, str, float]] = [
        (brighten, "brightness", 1.0),
        (contrast, "contrast", 1.0),
        (saturate, "saturation", 1.0),
        (turn_hue, "hue", 0.0),
    ]
    if images.shape[1] == 1:
        kinds = kinds[:2]
    for turn in range(4):
        for number, (change, name, neutral) in enumerate(kinds):
            chosen = (drawn["order"][:, turn] == number) & (drawn[name] != neutral)
            images = where_on(images, chosen, partial(_changed, change, drawn[name]))
    return images


def _changed(change: Change, factors: Tensor, images: Tensor, rows: Tensor) -> Tensor:
    return change(images, column(factors, rows, images))


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black."""
    return (images * factor).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean luminance."""
    mean = luminance(images).mean(dim=(1, 2, 3), keepdim=True)
    return torch.addcmul(mean * (1 - factor), images, factor).clamp_(0, 1)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image."""
    return torch.addcmul(luminance(images) * (1 - factor), images, factor).clamp_(0, 1)


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue by ``turn`` of a full circle, keeping value and saturation.

    Rebuilt from the hexcone without branches: a channel lies ``chroma`` below the maximum, times a
    trapezoid of the hue.
    """
    red, green, blue = images.unbind(dim=1)
    top = images.amax(dim=1)
    chroma = top - images.amin(dim=1)
    safe = torch.where(chroma == 0, 1.0, chroma)
    hue = torch.where(
        top == red,
        (green - blue) / safe,
        torch.where(top == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = hue + 6 * turn.view(-1, 1, 1)
    turned = torch.empty_like(images)
    for channel, offset in enumerate((5.0, 3.0, 1.0)):
        angle = torch.remainder(hue + offset, 6)
        ramp = torch.minimum(angle, 4 - angle).clamp_(0, 1)
        turned[:, channel] = torch.addcmul(top, chroma, ramp, value=-1)
    return turned
