"""Macro F1: the mean over classes of the harmonic mean of precision and recall."""

from __future__ import annotations

import numpy as np

from stages.core.metrics.intervals import confusion
from stages.core.metrics.representation import Labels


def score(labels: Labels, predicted: Labels, classes: int) -> float:
    """Return the mean F1 of the classes that occur or are predicted."""
    counts = confusion(labels, predicted, classes)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    seen = both > 0
    return float(np.mean(2 * counts.diagonal()[seen] / both[seen]))
