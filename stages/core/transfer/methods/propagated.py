"""Linear probe on the frozen encoder, fitted to unlabelled images, too, with labels that travel
along the graph of nearest neighbours.

Paper: Label Propagation for Deep Semi-supervised Learning, 2019.
"""

from __future__ import annotations

from stages.core.transfer.context import Context
from stages.core.transfer.finetune import Candidate, linear_candidate

ENCODER = True


def fit(context: Context) -> Candidate | None:
    """Return the encoder as it is with such a probe as its head; None without unlabelled images."""
    probe = context.propagated
    if probe is None:
        return None
    return linear_candidate(context.backbone, probe, context.task, context.encoder, "propagated")
