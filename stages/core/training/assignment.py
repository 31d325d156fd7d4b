"""Assignment: from a teacher's scores to target probabilities over prototypes that use them all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stages.core.compute import wide
from stages.core.training.distributed import gather, rank, total, world


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Return ``(n, K)`` assignments that use every prototype equally often over all processes.

    Rows sum to 1. Papers: Sinkhorn Distances: Lightspeed Computation of Optimal Transport, 2013;
    Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, 2020.
    """
    logits = gather(wide(scores)) / temperature
    plan = (logits - logits.max()).exp()
    for _ in range(iterations):
        plan = plan / plan.sum(dim=0, keepdim=True).clamp(min=1e-30) / plan.shape[1]
        plan = plan / plan.sum(dim=1, keepdim=True).clamp(min=1e-30) / plan.shape[0]
    return (plan * plan.shape[0]).chunk(world())[rank()]


class Centre(nn.Module):
    """Running mean of a teacher's scores ``(…, K)``; taken off, no prototype wins every image.

    Paper: Emerging Properties in Self-Supervised Vision Transformers, 2021.
    """

    def __init__(self, count: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(count))
        self.mean: Tensor
        self.held: list[Tensor] = []

    def forward(self, scores: Tensor, temperature: float) -> Tensor:
        """Target probabilities; remembers the scores' mean for :meth:`advance`."""
        with torch.no_grad():
            flat = wide(scores).flatten(0, -2)
            self.held.append(total(flat.mean(dim=0)) / world())
            return ((wide(scores) - self.mean) / temperature).softmax(dim=-1)

    @torch.no_grad()
    def advance(self) -> None:
        """Move towards the mean of what was seen since the last update."""
        if self.held:
            new = torch.stack(self.held).mean(dim=0).to(self.mean)
            self.held.clear()
            moved = self.momentum * self.mean + (1 - self.momentum) * new
            self.mean.copy_(torch.where(torch.isfinite(moved), moved, self.mean))
