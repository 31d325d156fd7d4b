"""Patches hidden one by one, anywhere (Masked Autoencoders Are Scalable Vision Learners, 2021)."""

from __future__ import annotations

import torch
from torch import Tensor


def sample(n: int, patches: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Exactly ``round(ratio · patches²)`` hidden in each image."""
    cells = patches * patches
    rank = torch.rand(n, cells, generator=generator).argsort(dim=1).argsort(dim=1)
    return (rank < round(ratio * cells)).view(n, patches, patches)
