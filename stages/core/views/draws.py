"""What an operation draws: a few numbers per image, drawn on the CPU so that every device sees the
same views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Drawn = dict[str, Tensor]
"""Name → tensor with one row per image. ``on`` (N,) bool says which images the operation changes at
all.
"""

Probability = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]


class OpSettings(BaseModel):
    """Settings of an operation: typed, complete, and nothing else accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: Probability = 1.0


def coin(n: int, probability: float, generator: torch.Generator) -> Tensor:
    """``(n,)`` bool, each true with ``probability``."""
    return torch.rand(n, generator=generator) < probability


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """``(n,)`` float32 between ``low`` and ``high``."""
    return torch.rand(n, generator=generator) * (high - low) + low


def integers(highest: Tensor, generator: torch.Generator) -> Tensor:
    """One integer per element, uniform on 0 … ``highest`` (inclusive)."""
    drawn = torch.rand(highest.shape, generator=generator, dtype=torch.float64) * (highest + 1)
    return torch.minimum(drawn.floor().long(), highest)


def where_on(images: Tensor, on: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Change the chosen images only. ``on`` stays on the CPU, so a GPU is never waited for.

    Args:
        images: ``(N, C, H, W)``; not modified.
        on: ``(N,)`` bool.
        change: called with the chosen images and their row numbers.
    """
    rows = on.nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    if len(rows) == len(images):
        return change(images, rows)
    there = rows.to(images.device, non_blocking=True)
    return images.index_copy(0, there, change(images.index_select(0, there), rows))


def column(values: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    """``values[rows]`` as ``(n, 1, 1, 1)`` on the device of ``like``, to be broadcast over an
    image.
    """
    return values[rows].to(like.device, like.dtype, non_blocking=True).view(-1, 1, 1, 1)
