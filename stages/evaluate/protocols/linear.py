"""Linear probe: multinomial logistic regression, its regularisation picked on validation."""

from __future__ import annotations

import numpy as np

from stages.core.metrics.linear_probe import STRENGTHS, fit_linear
from stages.evaluate.ladder import Budget, Row, Subject

TITLE = "linear probe"


def row(subject: Subject, step: Budget) -> Row:
    """Return the row; the regularisation of the first draw is kept for the others."""
    features, truth = subject.features, subject.truth
    answers, validation = [], []
    strengths: tuple[float, ...] = STRENGTHS
    for draw in step.draws:
        train, labels = features.train[draw], truth.train[draw]
        probe = fit_linear(
            train, labels, features.validation, truth.validation, truth.classes, strengths
        )
        strengths = (probe.strength,)
        validation.append(probe.validation_accuracy)
        answers.append(probe.predict(features.test))
    return subject.row("linear", step, answers, float(np.mean(validation)), f"C = {strengths[0]:g}")
