"""Who beat whom: intervals of every row and of paired differences, from one resampling of the test
images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stages.core import plugins
from stages.core.metrics.intervals import Interval, column_means, interval, redrawn
from stages.evaluate.ladder import ALL, PROTOCOLS, Row

MODELS = {
    "pixels": "Raw pixels",
    "random": "Untrained encoder",
    "random-student": "Untrained student",
    "scratch": "Supervised from scratch",
    "control": "Instance-classification control",
    "start": "Start weights as they are",
    "pretrained": "Pretrained",
    "distilled": "Distilled",
    "finetuned": "Shipped: best on validation",
}
"""Models in the order of the table, with the names a reader sees."""
TRAINED = {"full": "fully fine-tuned", "picked": "the best on validation"}
"""Ways of using a model that are no protocol of a frozen encoder, with the names a reader sees."""
PAIRS = (
    ("finetuned", "scratch"),
    ("pretrained", "pixels"),
    ("pretrained", "random"),
    ("pretrained", "control"),
    ("pretrained", "start"),
    ("distilled", "pretrained"),
    ("finetuned", "pixels"),
)
"""The questions asked at every budget; the first one is what the whole pipeline is for."""


@dataclass(frozen=True)
class Comparison:
    """Accuracy of ``first`` minus accuracy of ``second`` on the same test images, with the same
    labels.
    """

    budget: str
    first: Row
    second: Row
    difference: Interval

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``no difference``: an interval that holds zero is no
        difference.
        """
        if not self.difference.excludes_zero:
            return "no difference"
        return "better" if self.difference.value > 0 else "worse"


def title(protocol: str) -> str:
    """Return the name of a protocol that a reader sees."""
    if protocol in TRAINED:
        return TRAINED[protocol]
    return str(plugins.load(PROTOCOLS, protocol).TITLE)


CONTROLS = ("scratch", "pixels", "random")
"""Models that used no unlabelled image: the strongest of them on validation is the one to beat."""


def controls(table: Table) -> dict[str, Row]:
    """Return the rows that gates compare the classifier with, all labels: labels alone, linear
    probes on raw pixels and on an untrained encoder, and kNN on raw pixels and on the encoder's
    features.
    """
    wanted = {
        "scratch": ("scratch", "full"),
        "pixels": ("pixels", "linear"),
        "random": ("random", "linear"),
        "pixels_knn": ("pixels", "knn"),
        "encoder_knn": ("pretrained", "knn"),
    }
    found = {(row.model, row.protocol): row for row in table.rows if row.budget == ALL}
    return {name: found[key] for name, key in wanted.items() if key in found}


class Table:
    """All rows with their resampled accuracies."""

    def __init__(self, rows: Iterable[Row], resamples: int, seed: int) -> None:
        self.rows = sorted(
            rows,
            key=lambda row: (list(MODELS).index(row.model), row.protocol in TRAINED, row.protocol),
        )
        self.seed = seed
        means = column_means(
            np.concatenate([row.correct for row in self.rows], axis=1).astype(np.float64),
            resamples,
            seed,
        )
        ends = np.cumsum([row.draws for row in self.rows])
        self._means = {
            id(row): means[:, end - row.draws : end]
            for row, end in zip(self.rows, ends, strict=True)
        }
        self.intervals = {
            id(row): interval(row.accuracy, redrawn(self._means[id(row)], seed))
            for row in self.rows
        }

    def interval(self, row: Row) -> Interval:
        """Accuracy of a row with its interval."""
        return self.intervals[id(row)]

    @property
    def budgets(self) -> list[str]:
        """Names of the budgets, fewest labels first."""
        return sorted(
            {row.budget for row in self.rows},
            key=lambda name: (name == ALL, int(name) if name != ALL else 0),
        )

    @property
    def protocols(self) -> list[str]:
        """The protocols there are, frozen ones first."""
        found = {row.protocol for row in self.rows}
        return sorted(found, key=lambda name: (name in TRAINED, name))

    @property
    def models(self) -> list[str]:
        """The models there are, in the order of the table."""
        return list(dict.fromkeys(row.model for row in self.rows))

    def of(self, model: str, budget: str) -> list[Row]:
        """The rows of a model at a budget, one for each way of using it."""
        return [row for row in self.rows if row.model == model and row.budget == budget]

    def best(self, model: str, budget: str, frozen: bool = False) -> Row | None:
        """The way of using the model that validates best; ``frozen`` leaves fine-tuning out."""
        rows = [row for row in self.of(model, budget) if not (frozen and row.protocol == "full")]
        return max(rows, key=lambda row: row.validation, default=None)

    def compare(self, first: Row, second: Row) -> Comparison:
        """Paired difference; where one row has more draws of labels than the other, over the draws
        both have.
        """
        shared = min(first.draws, second.draws)
        value = float(first.correct[:, :shared].mean() - second.correct[:, :shared].mean())
        ahead, behind = (
            redrawn(self._means[id(row)][:, :shared], self.seed) for row in (first, second)
        )
        return Comparison(first.budget, first, second, interval(value, ahead - behind))

    def comparisons(self) -> list[Comparison]:
        """Every question of :data:`PAIRS` that this table can answer, budget by budget."""
        answers = []
        for first, second in PAIRS:
            frozen = first in {"pretrained", "distilled"}
            for budget in self.budgets:
                ahead, behind = self.best(first, budget, frozen), self.best(second, budget, frozen)
                if ahead is not None and behind is not None:
                    answers.append(self.compare(ahead, behind))
        return answers

    def strongest_control(self, budget: str) -> Row | None:
        """Return the control that validates best at a budget."""
        rows = [row for name in CONTROLS if (row := self.best(name, budget)) is not None]
        return max(rows, key=lambda row: row.validation, default=None)

    def headlines(self) -> list[Comparison]:
        """Compare what ships with the strongest control, budget by budget."""
        answers = []
        for budget in self.budgets:
            ours, theirs = self.best("finetuned", budget), self.strongest_control(budget)
            if ours is not None and theirs is not None:
                answers.append(self.compare(ours, theirs))
        return answers

    def tied_with_best(self, budget: str) -> set[int]:
        """Identities of the rows at a budget that cannot be told apart from the one with the
        highest test accuracy.
        """
        rows = [row for row in self.rows if row.budget == budget]
        top = max(rows, key=lambda row: row.accuracy)
        return {
            id(row)
            for row in rows
            if row is top or not self.compare(top, row).difference.excludes_zero
        }
