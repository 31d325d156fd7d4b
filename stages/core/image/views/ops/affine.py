"""Turn, shift, scale and shear about the image's centre; what comes from outside is black."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.image.views.warp import Warp
from stages.core.views.draws import Drawn, OpSettings, Range, coin, uniform


class Settings(OpSettings):
    degrees: float = 0.0
    """Turned by up to this much, either way (positive is clockwise)."""
    translate: Range = (0.0, 0.0)
    """Largest shift as a share of width and height."""
    scale: Range = (1.0, 1.0)
    shear: float = 0.0
    """Degrees along x, either way."""


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """``angle`` and ``shear`` in degrees, ``shift`` ``(n, 2)`` in whole pixels (x, y),
    ``scale``.
    """
    height, width = size
    reach = [settings.translate[0] * width, settings.translate[1] * height]
    on = coin(n, settings.probability, generator)
    return {
        "on": on,
        "angle": uniform(n, -settings.degrees, settings.degrees, generator) * on,
        "shift": (
            torch.stack([uniform(n, -most, most, generator).round() for most in reach], dim=1)
            * on.unsqueeze(1)
        ),
        "scale": torch.where(on, uniform(n, *settings.scale, generator), 1.0),
        "shear": uniform(n, -settings.shear, settings.shear, generator) * on,
    }


def place(warp: Warp, drawn: Drawn) -> Warp:
    """Add the turn to the warp."""
    return warp.turned(
        inverse_matrix(drawn["angle"], drawn["shift"], drawn["scale"], drawn["shear"])
    )


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Bilinear."""
    return place(Warp.of(images), drawn).apply(images, images.shape[2:])


def inverse_matrix(angle: Tensor, shift: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """``(N, 2, 3)`` from an output pixel to the input pixel it shows, both counted from the
    centre.
    """
    turn, slant = torch.deg2rad(angle), torch.deg2rad(shear)
    cos, sin, tan = turn.cos(), turn.sin(), slant.tan()
    forward = torch.stack(
        [torch.stack([cos, -cos * tan - sin], dim=1), torch.stack([sin, -sin * tan + cos], dim=1)],
        dim=1,
    ) * scale.view(-1, 1, 1)
    # A turn of determinant scale²: its inverse is the adjugate over that, which needs no solver.
    adjugate = torch.stack(
        [
            torch.stack([forward[:, 1, 1], -forward[:, 0, 1]], dim=1),
            torch.stack([-forward[:, 1, 0], forward[:, 0, 0]], dim=1),
        ],
        dim=1,
    )
    inverse = adjugate / scale.square().view(-1, 1, 1)
    return torch.cat([inverse, -torch.bmm(inverse, shift.unsqueeze(2))], dim=2)
