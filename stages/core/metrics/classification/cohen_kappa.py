"""Cohen's kappa: agreement with the labels beyond what chance would give, at least 0.

Paper: A Coefficient of Agreement for Nominal Scales, 1960.
"""

from __future__ import annotations

from stages.core.metrics.intervals import confusion
from stages.core.metrics.representation import Labels


def score(labels: Labels, predicted: Labels, classes: int) -> float:
    """Return kappa, or 0 where agreement is below chance; a single class everywhere gives 0."""
    shares = confusion(labels, predicted, classes) / len(labels)
    chance = float(shares.sum(axis=0) @ shares.sum(axis=1))
    if chance == 1:
        return 0.0
    return max(0.0, float((shares.trace() - chance) / (1 - chance)))
