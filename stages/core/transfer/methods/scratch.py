"""Labels alone: the encoder's architecture trained from random weights, the control."""

from __future__ import annotations

from stages.core.transfer.context import Context
from stages.core.transfer.finetune import Candidate

ENCODER = False


def fit(context: Context) -> Candidate:
    """Return the network that was trained to find the augmentation and the length for all."""
    return context.scratch
