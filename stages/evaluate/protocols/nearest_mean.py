"""Nearest class mean on the unit sphere: nothing to choose, so it shows what few labels can do.

Paper: Prototypical Networks for Few-shot Learning, 2017, with cosine similarity.
"""

from __future__ import annotations

import numpy as np

from stages.core.metrics.representation import Array, Labels, normalise
from stages.evaluate.ladder import Budget, Row, Subject

TITLE = "nearest class mean"


def row(subject: Subject, step: Budget) -> Row:
    """Return the row."""
    features, truth = subject.features, subject.truth
    answers, validation = [], []
    for draw in step.draws:
        means = class_means(features.train[draw], truth.train[draw], truth.classes)
        answers.append(nearest(means, features.test))
        right = nearest(means, features.validation) == truth.validation
        validation.append(float(right.mean()))
    return subject.row("nearest_mean", step, answers, float(np.mean(validation)), "")


def class_means(features: Array, labels: Labels, classes: int) -> Array:
    """Return the normalised mean (K, D) of unit vectors of each class; zeros for a class without an
    image.
    """
    unit = normalise(features)
    sums = np.zeros((classes, unit.shape[1]), dtype=np.float32)
    np.add.at(sums, labels, unit)
    return normalise(sums)


def nearest(means: Array, features: Array) -> Labels:
    """Return the class (n,) whose mean has the largest cosine similarity; classes without an image
    are never chosen.
    """
    scores = normalise(features) @ means.T
    scores[:, ~means.any(axis=1)] = -np.inf
    found: Labels = scores.argmax(axis=1)
    return found
