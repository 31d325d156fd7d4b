"""Linear probe on the frozen encoder: multinomial logistic regression."""

from __future__ import annotations

from stages.core.transfer.context import Context
from stages.core.transfer.finetune import Candidate, linear_candidate

ENCODER = True


def fit(context: Context) -> Candidate:
    """Return the encoder as it is with the probe as its head."""
    return linear_candidate(context.backbone, context.probe, context.task, context.encoder)
