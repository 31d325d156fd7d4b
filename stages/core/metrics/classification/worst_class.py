"""Worst class: the recall of the class that is recognised least often."""

from __future__ import annotations

from stages.core.metrics.intervals import confusion
from stages.core.metrics.representation import Labels


def score(labels: Labels, predicted: Labels, classes: int) -> float:
    """Return the lowest recall among the classes that occur."""
    counts = confusion(labels, predicted, classes)
    images = counts.sum(axis=1)
    return float((counts.diagonal()[images > 0] / images[images > 0]).min())
