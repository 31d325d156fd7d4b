"""Turn about the image's centre, counter-clockwise for positive angles; what comes from outside is
black.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.image.views.ops import affine
from stages.core.image.views.warp import Warp
from stages.core.views.draws import Drawn, OpSettings, coin, uniform


class Settings(OpSettings):
    degrees: float = 15.0


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """``angle`` in degrees, up to ``degrees`` either way."""
    on = coin(n, settings.probability, generator)
    return {"on": on, "angle": uniform(n, -settings.degrees, settings.degrees, generator) * on}


def place(warp: Warp, drawn: Drawn) -> Warp:
    """Add the turn to the warp."""
    n = len(drawn["angle"])
    return warp.turned(
        affine.inverse_matrix(-drawn["angle"], torch.zeros(n, 2), torch.ones(n), torch.zeros(n))
    )


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Bilinear."""
    return place(Warp.of(images), drawn).apply(images, images.shape[2:])
