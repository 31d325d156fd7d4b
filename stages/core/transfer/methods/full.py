"""Encoder trained whole, with the linear probe as its head to begin with.

Paper: Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022.
"""

from __future__ import annotations

from functools import reduce

from stages.core.transfer.context import Context
from stages.core.transfer.finetune import Candidate, better

ENCODER = True


def fit(context: Context) -> Candidate:
    """Return the best on validation of one training at each learning rate."""
    return reduce(better, [context.train_full(rate) for rate in context.rates])
