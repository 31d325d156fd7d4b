"""Weighted nearest neighbours, their number picked on validation.

Paper: Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018.
"""

from __future__ import annotations

import numpy as np

from stages.core.metrics.representation import Array, Labels, knn_scores
from stages.evaluate.ladder import Budget, Row, Subject

TITLE = "kNN"
NEIGHBOURS = (1, 3, 5, 10)
"""Neighbours tried besides ``evaluate.neighbours``."""


def row(subject: Subject, step: Budget) -> Row:
    """Return the row with the number of neighbours that validates best, averaged over the draws;
    ties go to fewer.
    """
    features, truth, most = subject.features, subject.truth, subject.neighbours
    tried = sorted({k for k in (*NEIGHBOURS, most) if k <= max(1, min(most, step.images))})
    means = []
    for k in tried:
        each = [_predict(subject, draw, k, features.validation) for draw in step.draws]
        means.append(float(np.mean([answers == truth.validation for answers in each])))
    best = int(np.argmax(means))
    answers = [_predict(subject, draw, tried[best], features.test) for draw in step.draws]
    return subject.row("knn", step, answers, means[best], f"k = {tried[best]}")


def _predict(subject: Subject, draw: Labels, k: int, queries: Array) -> Labels:
    features, truth = subject.features, subject.truth
    scores = knn_scores(features.train[draw], truth.train[draw], queries, k, truth.classes)
    predicted: Labels = scores.argmax(axis=1)
    return predicted
