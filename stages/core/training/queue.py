"""Memories: embeddings of earlier batches, kept as buffers and therefore in every checkpoint.

What a step computes is held back until the update is over, so that accumulated parts of a batch see
the same memory and a step that was skipped leaves no trace that is not finite.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from stages.core.random import generator
from stages.core.training.distributed import gather


class Queue(nn.Module):
    """The latest embeddings, ``rows`` ``(size, width)`` at unit length, the oldest replaced first.

    Paper: Momentum Contrast for Unsupervised Visual Representation Learning, 2019.
    """

    def __init__(self, size: int, width: int, seed: int, *path: object) -> None:
        super().__init__()
        drawn = torch.randn(size, width, generator=generator(seed, "queue", *path))
        self.register_buffer("rows", normalize(drawn, dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.rows: Tensor
        self.place: Tensor
        self.held: list[Tensor] = []

    @torch.no_grad()
    def hold(self, rows: Tensor) -> None:
        """Keep the ``(n, width)`` of every process for :meth:`advance`."""
        self.held.append(gather(normalize(rows.detach().to(self.rows.dtype), dim=1)))

    @torch.no_grad()
    def advance(self) -> None:
        """Let what was held back replace the oldest rows."""
        if not self.held:
            return
        new = torch.cat(self.held)[-len(self.rows) :]
        self.held.clear()
        where = (self.place + torch.arange(len(new), device=new.device)) % len(self.rows)
        finite = torch.isfinite(new).all(dim=1, keepdim=True)
        self.rows[where] = torch.where(finite, new, self.rows[where])
        self.place.copy_((self.place + len(new)) % len(self.rows))


class Bank(nn.Module):
    """One embedding for each image, ``rows`` ``(images, width)`` at unit length, moved by momentum.

    Paper: Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018.
    """

    def __init__(self, images: int, width: int, seed: int, *path: object) -> None:
        super().__init__()
        drawn = torch.randn(images, width, generator=generator(seed, "bank", *path))
        self.register_buffer("rows", normalize(drawn, dim=1))
        self.rows: Tensor
        self.held: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def hold(self, index: Tensor, rows: Tensor) -> None:
        """Keep the images ``(n,)`` and embeddings ``(n, width)`` of every process."""
        new = normalize(rows.detach().to(self.rows.dtype), dim=1)
        self.held.append((gather(index), gather(new)))

    @torch.no_grad()
    def advance(self, momentum: float) -> None:
        """Move the rows of the images seen a fraction ``1 - momentum`` towards what was held
        back.
        """
        for index, new in self.held:
            old = self.rows[index]
            moved = normalize(momentum * old + (1 - momentum) * new, dim=1)
            finite = torch.isfinite(moved).all(dim=1, keepdim=True)
            self.rows[index] = torch.where(finite, moved, old)
        self.held.clear()
