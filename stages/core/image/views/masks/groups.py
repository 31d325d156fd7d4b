"""Connected groups hidden: patches grown from a few seeds, one random neighbour at a time, so that
shapes are irregular.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

SEEDS = 3


def sample(n: int, patches: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Exactly ``round(ratio · patches²)`` hidden in each image, in at most three connected
    pieces.
    """
    cells = patches * patches
    wanted = round(ratio * cells)
    hidden = torch.zeros(n, cells)
    for turn in range(wanted):
        taken = hidden.view(n, 1, patches, patches)
        beside = torch.maximum(
            max_pool2d(taken, (3, 1), 1, (1, 0)), max_pool2d(taken, (1, 3), 1, (0, 1))
        ).view(n, cells)
        allowed = (1 - hidden) * (beside if turn >= SEEDS else 1)
        chosen = (torch.rand(n, cells, generator=generator) * allowed - (1 - allowed)).argmax(
            dim=1, keepdim=True
        )
        hidden.scatter_(1, chosen, 1.0)
    return hidden.bool().view(n, patches, patches)
