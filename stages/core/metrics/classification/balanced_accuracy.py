"""Balanced accuracy: the mean over classes of the fraction of each that is recognised.

Paper: The Balanced Accuracy and Its Posterior Distribution, 2010.
"""

from __future__ import annotations

import numpy as np

from stages.core.metrics.intervals import confusion
from stages.core.metrics.representation import Labels


def score(labels: Labels, predicted: Labels, classes: int) -> float:
    """Return the mean recall of the classes that occur."""
    counts = confusion(labels, predicted, classes)
    images = counts.sum(axis=1)
    present = images > 0
    return float(np.mean(counts.diagonal()[present] / images[present]))
