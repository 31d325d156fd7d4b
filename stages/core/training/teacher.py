"""Teachers: a network that follows another as a moving average."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import nn


class Teacher(nn.Sequential):
    """Moving average of the parts of a student: their copies, one after the other, never trained.

    Papers: Mean teachers are better role models, 2017; Bootstrap your own latent, 2020.
    """

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__(*map(deepcopy, parts))
        self.requires_grad_(False)

    @torch.no_grad()
    def follow(self, *parts: nn.Module, momentum: float) -> None:
        """Move every weight a fraction ``1 - momentum`` of the way to the student's."""
        online = nn.Sequential(*parts)
        for old, new in zip(self.parameters(), online.parameters(), strict=True):
            old.lerp_(new, 1 - momentum)


def rising(momentum: float, progress: float) -> float:
    """Return the momentum at ``progress`` (0 to 1): from ``momentum`` to 1 along a cosine."""
    return 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2
