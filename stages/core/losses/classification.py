"""Classification losses: the class, or what was done to the image, is known."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from stages.core.compute import full_precision, wide
from stages.core.training.distributed import total, world


@full_precision
def labelled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of ``(N, K)`` logits over the rows of all processes that have a label.

    ``labels`` ``(N,)`` int64, -1 where there is none; 0 where no row has one.
    """
    summed = cross_entropy(wide(logits), labels, ignore_index=-1, reduction="sum")
    count = total((labels >= 0).sum().to(summed))
    return summed * world() / count.clamp(min=1)


@full_precision
def mean_cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean cross entropy of ``(N, K)`` logits against known classes ``(N,)``."""
    return cross_entropy(wide(logits), classes)


@full_precision
def pair_cross_entropy(same: Tensor, other: Tensor) -> Tensor:
    """Mean binary cross entropy of scores ``(N,)`` of pairs that match and of pairs that do not.

    Paper: Self-Supervised Relational Reasoning for Representation Learning, 2020.
    """
    return (softplus(-wide(same)).mean() + softplus(wide(other)).mean()) / 2
