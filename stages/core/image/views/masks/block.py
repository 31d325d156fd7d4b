"""One rectangle hidden (Context Encoders: Feature Learning by Inpainting, 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.views.draws import integers

ASPECT = (0.5, 2.0)


def sample(n: int, patches: int, ratio: float, generator: torch.Generator) -> Tensor:
    """A rectangle of about ``ratio`` of the area, of random aspect and place."""
    return rectangle(n, patches, (ratio, ratio), ASPECT, generator)


def rectangle(
    n: int,
    patches: int,
    share: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """``(n, patches, patches)`` bool: a rectangle per image, its area a share of the grid, its
    aspect log-uniform.
    """
    area = (torch.rand(n, generator=generator) * (share[1] - share[0]) + share[0]) * patches**2
    logs = torch.tensor(aspect).log()
    slope = (torch.rand(n, generator=generator) * (logs[1] - logs[0]) + logs[0]).exp()
    # Aspects that would leave the grid are brought to its edge, keeping the area.
    slope = slope.clamp(min=area / patches**2, max=patches**2 / area)
    height = (area * slope).sqrt().round().long().clamp(1, patches)
    width = (area / height).round().long().clamp(1, patches)
    top, left = integers(patches - height, generator), integers(patches - width, generator)
    place = torch.arange(patches)
    rows = (place >= top.unsqueeze(1)) & (place < (top + height).unsqueeze(1))
    columns = (place >= left.unsqueeze(1)) & (place < (left + width).unsqueeze(1))
    return rows.unsqueeze(2) & columns.unsqueeze(1)
