"""Metrics of classifications against scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from stages.core import plugins

PACKAGE = "stages.core.metrics.classification"


def _worst(labels: np.ndarray, predicted: np.ndarray) -> float:
    present = np.unique(labels)
    return float(sk.recall_score(labels, predicted, labels=present, average=None).min())


ORACLES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "macro_f1": lambda labels, predicted: sk.f1_score(labels, predicted, average="macro"),
    "worst_class": _worst,
    "cohen_kappa": lambda labels, predicted: max(0.0, sk.cohen_kappa_score(labels, predicted)),
}


def test_every_metric_has_an_oracle() -> None:
    assert set(ORACLES) == set(plugins.names(PACKAGE))


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("name", sorted(ORACLES))
@pytest.mark.parametrize("seed", range(5))
def test_a_metric_is_what_scikit_learn_computes(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 7))
    labels = rng.integers(0, classes, 80)
    answers = rng.integers(0, classes, 80)
    predicted = np.where(rng.random(80) < 0.6, labels, answers)
    if seed == 4:  # a class that occurs in no test image
        labels = np.minimum(labels, classes - 2)
    found = plugins.load(PACKAGE, name).score(labels, predicted, classes)
    assert found == pytest.approx(ORACLES[name](labels, predicted), abs=1e-12)
    assert 0 <= found <= 1


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_all_right_is_one(name: str) -> None:
    labels = np.array([0, 1, 2, 2, 1])
    assert plugins.load(PACKAGE, name).score(labels, labels, 3) == 1


def test_a_single_class_has_no_agreement_beyond_chance() -> None:
    labels = np.zeros(5, dtype=np.int64)
    assert plugins.load(PACKAGE, "cohen_kappa").score(labels, labels, 1) == 0
