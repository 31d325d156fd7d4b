"""LogME against the evidence written out with dense matrices and maximised by a general
optimiser.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from stages.core.metrics.representation import normalise, rankme
from stages.core.metrics.transferability import log_evidence, logme, score


def task(width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), 15)
    return (np.eye(3)[labels] @ rng.normal(size=(3, width)) + rng.normal(size=(45, width))).astype(
        np.float32
    ), labels


@pytest.mark.parametrize("width", [6, 60])
def test_evidence_is_the_density_of_a_gaussian(width: int) -> None:
    features, labels = task(width)
    matrix, target = normalise(features).astype(np.float64), (labels == 1).astype(np.float64)
    left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    found = log_evidence(2.0, 3.0, left.T @ target, target @ target, singular**2, *matrix.shape)
    covariance = matrix @ matrix.T / 2.0 + np.eye(45) / 3.0
    assert found == pytest.approx(multivariate_normal(np.zeros(45), covariance).logpdf(target))


def test_features_that_say_nothing_fit_worst_and_are_still_a_number() -> None:
    features, labels = task(6)
    assert logme(np.zeros_like(features), labels, 3) < logme(features, labels, 3)


def test_logme_maximises_the_evidence() -> None:
    features, labels = task(6)
    matrix = normalise(features).astype(np.float64)
    best = []
    for label in range(3):
        target = (labels == label).astype(np.float64)

        def loss(logs: np.ndarray, target: np.ndarray = target) -> float:
            alpha, beta = np.exp(logs)
            covariance = matrix @ matrix.T / alpha + np.eye(45) / beta
            return -float(multivariate_normal(np.zeros(45), covariance).logpdf(target)) / 45

        best.append(
            -minimize(
                loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}
            ).fun
        )
    assert logme(features, labels, 3) == pytest.approx(np.mean(best), abs=1e-4)


def test_better_features_score_higher() -> None:
    features, labels = task(6)
    noise = np.random.default_rng(1).normal(size=features.shape).astype(np.float32)
    good, bad = score(features, labels, 3), score(noise, labels, 3)
    assert (
        good.logme is not None
        and bad.logme is not None
        and good.retrieval is not None
        and bad.retrieval is not None
    )
    assert good.logme > bad.logme and good.retrieval > bad.retrieval


def test_without_labels_only_the_rank_is_known() -> None:
    features, labels = task(6)
    assert score(features, None, 3) == score(features, np.full_like(labels, -1), 3)
    assert score(features, None, 3).rankme == pytest.approx(rankme(features))
    assert score(features, None, 3).logme is None
