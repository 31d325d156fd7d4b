"""Linear probes: multinomial logistic regression on frozen features, its regularisation picked on
validation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.core.errors import DataError
from stages.core.metrics.representation import Array, Labels

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse regularisation strengths tried (scikit-learn's ``C``), the strongest regularisation
first.
"""
ITERATIONS = 300


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier on raw features: the standardisation is folded into the weights, so it
    can become a head.
    """

    weight: Array  # (K, D)
    bias: Array  # (K,)
    strength: float
    validation_accuracy: float

    def logits(self, features: Array) -> Array:
        """(N, D) → (N, K)."""
        scores: Array = features @ self.weight.T + self.bias
        return scores

    def predict_proba(self, features: Array) -> Array:
        """(N, D) → (N, K), rows add up to one."""
        return softmax(self.logits(features))

    def predict(self, features: Array) -> Labels:
        """(N, D) → (N,) class numbers."""
        predicted: Labels = self.logits(features).argmax(axis=1)
        return predicted


def softmax(logits: Array) -> Array:
    """Row-wise, (N, K) → (N, K)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return shares


def fit_linear(
    features: Array,
    labels: Labels,
    validation_features: Array,
    validation_labels: Labels,
    classes: int,
    strengths: tuple[float, ...] = STRENGTHS,
    weights: NDArray[np.float64] | None = None,
) -> LinearProbe:
    """Fit (N, D) features to (N,) labels at each strength; the best validation accuracy wins, then
    the lower validation loss. ``weights`` (N,) are those of the images; without them all count
    alike.

    Full-batch and convex, so there is nothing random in it. A class without an example gets no
    probability.

    Raises:
        DataError: when the labels name fewer than two classes.
    """
    if len(np.unique(labels)) < 2:
        raise DataError(
            "a linear probe needs labelled images of two or more classes, got"
            f" {len(np.unique(labels))}"
        )
    mean = features.mean(axis=0)
    scale = features.std(axis=0)
    scale = np.where(scale > 1e-3 * scale.max(initial=0.0), scale, np.float32(1.0)).astype(
        np.float32
    )
    standard, axes = _row_space((features - mean) / scale)
    best: LinearProbe | None = None
    best_loss = np.inf
    for strength in strengths:
        coefficients, intercept = _logistic(standard, labels, classes, strength, weights)
        weight = (coefficients @ axes / scale).astype(np.float32)
        bias = (intercept - weight.astype(np.float64) @ mean).astype(np.float32)
        probe = LinearProbe(weight, bias, strength, 0.0)
        scores = probe.logits(validation_features)
        accuracy = float((scores.argmax(axis=1) == validation_labels).mean())
        loss = float(
            -np.log(softmax(scores)[np.arange(len(scores)), validation_labels] + 1e-12).mean()
        )
        if best is None or (accuracy, -loss) > (best.validation_accuracy, -best_loss):
            best, best_loss = LinearProbe(weight, bias, strength, accuracy), loss
    assert best is not None
    return best


def _row_space(features: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """With fewer images than dimensions an L2-regularised solution lies in the span of the images:
    fit there, (N, N).

    Returns coordinates (N, R) and axes (R, D), with features = coordinates @ axes.
    """
    double = features.astype(np.float64)
    if len(double) >= double.shape[1]:
        return double, np.eye(double.shape[1])
    orthogonal, triangular = np.linalg.qr(double.T)
    return triangular.T, orthogonal.T


def _logistic(
    features: NDArray[np.float64],
    labels: Labels,
    classes: int,
    strength: float,
    weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (classes, D) and intercepts (classes,); the ones of unseen classes never win."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # an early stop is one more regularisation, judged on validation
        model.fit(features, labels, weights)
    weight = np.zeros((classes, features.shape[1]))
    bias = np.full(classes, -1e4)
    seen = model.classes_
    if len(seen) == 2:
        weight[seen] = np.concatenate([-model.coef_, model.coef_]) / 2
        bias[seen] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        weight[seen], bias[seen] = model.coef_, model.intercept_
    return weight, bias
