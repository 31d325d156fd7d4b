"""Masking: from a view's patch mask to indices of the same number of patches in every image."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.image.views.engine import View


def hidden(view: View) -> Tensor:
    """Return ``(N, P)`` bool, true where a patch is hidden, row by row."""
    assert view.mask is not None, "the objective's ViewPlan asks for no mask"
    return view.mask.flatten(1)


def kept(view: View, ratio: float) -> Tensor:
    """Return ``(N, K)`` indices of the visible patches, for masks that hide exactly ``ratio``."""
    mask = hidden(view)
    visible = mask.shape[1] - round(ratio * mask.shape[1])
    return mask.to(torch.int8).argsort(dim=1, stable=True)[:, :visible]


def picked(tokens: Tensor, index: Tensor) -> Tensor:
    """Return the tokens ``(N, K, D)`` at ``index`` ``(N, K)`` of ``(N, P, D)``."""
    return tokens.gather(1, index.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
