"""Label ladder: label budgets, frozen encoders, and the rows that protocols make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.core import plugins
from stages.core.metrics.representation import Array, Labels
from stages.evaluate.subsets import draw_labels

ALL = "all"
PROTOCOLS = "stages.evaluate.protocols"


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
    """One line of the table: a model, used in one way, at one label budget.

    Attributes:
        images: number of labelled images in a draw.
        predicted: class numbers (test images, draws).
        truth: true class numbers (test images,).
        validation: accuracy on validation, averaged over the draws.
        undertrained: whether training got fewer steps than its plateau needs.
    """

    model: str
    protocol: str
    budget: str
    images: int
    predicted: NDArray[np.int64]
    truth: Labels
    validation: float
    chosen: str
    undertrained: bool = False

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right, (test images, draws): what intervals and comparisons are
        made of.
        """
        right: NDArray[np.bool_] = self.predicted == self.truth[:, None]
        return right

    @property
    def draws(self) -> int:
        """Number of draws of labels."""
        return int(self.predicted.shape[1])

    @property
    def accuracy(self) -> float:
        """Mean over test images and draws."""
        return float(self.correct.mean())


@dataclass(frozen=True)
class Subject:
    """A frozen encoder that protocols judge.

    Attributes:
        neighbours: at most so many are tried.
        draws: subsets of labels where a protocol is expensive.
        spread: features for label propagation, those of images without a label last; None where
            the encoder gets none.
    """

    model: str
    features: Labelled
    truth: Truth
    neighbours: int
    draws: int
    spread: tuple[Labelled, Array] | None = None

    def row(
        self, protocol: str, step: Budget, answers: Sequence[Labels], validation: float, chosen: str
    ) -> Row:
        """Return the row of these answers, class numbers (test images,) of each draw."""
        predicted = np.stack(answers, axis=1)
        return Row(
            self.model,
            protocol,
            step.name,
            step.images,
            predicted,
            self.truth.test,
            validation,
            chosen,
        )


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


def frozen_rows(subject: Subject, steps: Sequence[Budget], protocols: Sequence[str]) -> list[Row]:
    """Return the rows of one encoder by every protocol at every budget."""
    members = [plugins.load(PROTOCOLS, name) for name in protocols]
    rows = [member.row(subject, step) for step in steps for member in members]
    return [row for row in rows if row is not None]
