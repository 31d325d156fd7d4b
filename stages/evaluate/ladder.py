"""The label ladder of a frozen encoder: kNN and a linear probe at every budget, every choice made
on validation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.core.metrics.linear_probe import STRENGTHS, fit_linear
from stages.core.metrics.representation import Array, Labels, knn_scores
from stages.evaluate.subsets import draw_labels

ALL = "all"
NEIGHBOURS = (1, 3, 5, 10)
"""Neighbours tried besides ``evaluate.neighbours``."""


@dataclass(frozen=True)
class Budget:
    """A number of labels per class and the subsets that stand for it."""

    name: str
    draws: tuple[Labels, ...]

    @property
    def images(self) -> int:
        """Labelled images in a draw."""
        return len(self.draws[0])


@dataclass(frozen=True)
class Labelled:
    """Features of the three labelled splits, (n, D) each."""

    train: Array
    validation: Array
    test: Array


@dataclass(frozen=True)
class Truth:
    """The labels of the three splits as class numbers."""

    train: Labels
    validation: Labels
    test: Labels
    classes: int


@dataclass(frozen=True)
class Rows:
    """The rows of the store that the three splits are."""

    train: Labels
    validation: Labels
    test: Labels


@dataclass(frozen=True)
class Row:
    """One line of the table. ``correct`` is (test images, draws), which is what intervals and
    comparisons are made of.
    """

    model: str
    protocol: str
    budget: str
    images: int
    correct: NDArray[np.bool_]
    validation: float
    chosen: str
    undertrained: bool = False
    """Whether training got fewer steps than its plateau needs."""

    @property
    def accuracy(self) -> float:
        """Mean over test images and draws."""
        return float(self.correct.mean())


def budgets(labels: Labels, per_class: tuple[int, ...], draws: int, seed: int) -> list[Budget]:
    """The steps of the ladder, fewest labels first and all labels last; a step that already takes
    every label is left out.
    """
    steps = []
    for count in sorted(set(per_class)):
        subsets = tuple(draw_labels(labels, count, draw, seed) for draw in range(draws))
        if len(subsets[0]) < len(labels):
            steps.append(Budget(str(count), subsets))
    return [*steps, Budget(ALL, (np.arange(len(labels), dtype=np.int64),))]


def frozen_rows(
    model: str, features: Labelled, truth: Truth, steps: list[Budget], neighbours: int
) -> list[Row]:
    """kNN and linear probe of one encoder at every budget."""
    return [
        row
        for step in steps
        for row in (
            knn_row(model, features, truth, step, neighbours),
            linear_row(model, features, truth, step),
        )
    ]


def knn_row(model: str, features: Labelled, truth: Truth, step: Budget, neighbours: int) -> Row:
    """Weighted kNN with the number of neighbours that validates best, averaged over the draws; ties
    go to fewer.
    """
    tried = sorted(
        {k for k in (*NEIGHBOURS, neighbours) if k <= max(1, min(neighbours, step.images))}
    )
    means = []
    for k in tried:
        each = [
            _knn_correct(features, truth, draw, k, features.validation, truth.validation)
            for draw in step.draws
        ]
        means.append(float(np.mean(each)))
    best = int(np.argmax(means))
    correct = [
        _knn_correct(features, truth, draw, tried[best], features.test, truth.test)
        for draw in step.draws
    ]
    return Row(
        model,
        "knn",
        step.name,
        step.images,
        np.stack(correct, axis=1),
        means[best],
        f"k = {tried[best]}",
    )


def _knn_correct(
    features: Labelled, truth: Truth, draw: Labels, k: int, queries: Array, labels: Labels
) -> NDArray[np.bool_]:
    scores = knn_scores(features.train[draw], truth.train[draw], queries, k, truth.classes)
    right: NDArray[np.bool_] = scores.argmax(axis=1) == labels
    return right


def linear_row(model: str, features: Labelled, truth: Truth, step: Budget) -> Row:
    """A linear probe; its regularisation is picked on validation with the first draw and kept for
    the others.
    """
    correct, validation = [], []
    strengths: tuple[float, ...] = STRENGTHS
    for draw in step.draws:
        train, labels = features.train[draw], truth.train[draw]
        probe = fit_linear(
            train, labels, features.validation, truth.validation, truth.classes, strengths
        )
        strengths = (probe.strength,)
        validation.append(probe.validation_accuracy)
        correct.append(probe.predict(features.test) == truth.test)
    return Row(
        model,
        "linear",
        step.name,
        step.images,
        np.stack(correct, axis=1),
        float(np.mean(validation)),
        f"C = {strengths[0]:g}",
    )
