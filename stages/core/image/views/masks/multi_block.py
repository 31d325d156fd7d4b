"""Several rectangles hidden (Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture, 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.image.views.masks.block import rectangle

BLOCKS = 4
ASPECT = (0.75, 1.5)


def sample(n: int, patches: int, ratio: float, generator: torch.Generator) -> Tensor:
    """The union of four rectangles, sized so that independent places would cover ``ratio``
    together; the share varies.
    """
    each = 1 - (1 - ratio) ** (1 / BLOCKS)
    hidden = torch.zeros(n, patches, patches, dtype=torch.bool)
    for _ in range(BLOCKS):
        hidden |= rectangle(n, patches, (0.85 * each, 1.15 * each), ASPECT, generator)
    return hidden
