"""Draws: random numbers that are new at every update and the same in every process."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from stages.core.random import generator


class Draws(nn.Module):
    """A generator for each update, addressed by a count that travels in the checkpoint."""

    def __init__(self, seed: int, *path: object) -> None:
        super().__init__()
        self.seed, self.path, self.update = seed, path, 0

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def directions(self, width: int, count: int) -> Tensor:
        """Return ``count`` random directions as the columns of a ``(width, count)``, on the CPU."""
        drawn = torch.randn(width, count, generator=generator(self.seed, *self.path, self.update))
        return normalize(drawn, dim=0)

    def advance(self) -> None:
        """Go on to the next update's draws."""
        self.update += 1

    def get_extra_state(self) -> Tensor:
        """The count, for a checkpoint."""
        return torch.tensor(self.update)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the count from a checkpoint."""
        self.update = int(state)
