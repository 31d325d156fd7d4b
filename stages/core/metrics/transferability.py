"""Which encoder fits a data set, without training one: scores from features alone, and from
features and a few labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.core.metrics.representation import Array, Labels, normalise, rankme
from stages.core.metrics.retrieval import retrieved

ROUNDS = 50
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Score:
    """What is known about one encoder on one data set; the label scores are None without labels."""

    rankme: float
    logme: float | None = None
    retrieval: float | None = None


def score(features: Array, labels: Labels | None, classes: int) -> Score:
    """Score features (n, D) of a data set; ``labels`` (n,) has −1 where an image has none.

    ``rankme`` needs no labels ("RankMe", 2023). ``logme`` and ``retrieval`` (leave-one-out nearest
    neighbour, cosine) use the labelled images; they need two classes.
    """
    if labels is None or len(np.unique(labels[labels >= 0])) < 2:
        return Score(rankme(features))
    known = labels >= 0
    some, their = features[known], labels[known]
    return Score(
        rankme(features), logme(some, their, classes), float(retrieved(some, some, their).mean())
    )


def logme(features: Array, labels: Labels, classes: int) -> float:
    """Log evidence per image and class of a Bayesian linear model from unit features (n, D) to
    one-hot labels (n,).

    Higher fits better; comparable between encoders on the same images. "LogME: Practical Assessment
    of Pre-trained Models for Transfer Learning" (2021), by its fixed-point iteration on the
    singular values.
    """
    matrix = normalise(features).astype(np.float64)
    left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    evidence = []
    for label in range(classes):
        target = (labels == label).astype(np.float64)
        if target.any():
            evidence.append(
                _evidence(left.T @ target, float(target @ target), singular**2, *matrix.shape)
            )
    return float(np.mean(evidence))


def _evidence(
    projected: NDArray[np.float64],
    energy: float,
    spectrum: NDArray[np.float64],
    images: int,
    width: int,
) -> float:
    """Maximised log evidence divided by the number of images; alpha is the precision of weights,
    beta of noise.
    """
    alpha, beta = 1.0, 1.0
    outside = max(energy - float(projected @ projected), 0.0)
    for _ in range(ROUNDS):
        damping = alpha / (alpha + beta * spectrum)
        effective = float((1 - damping).sum())
        weights = float((spectrum * (beta * projected / (alpha + beta * spectrum)) ** 2).sum())
        residual = float(((damping * projected) ** 2).sum()) + outside
        ratio = alpha / beta
        alpha = max(effective, 1e-12) / max(weights, 1e-12)
        beta = max(images - effective, 1e-12) / max(residual, 1e-12)
        if abs(alpha / beta - ratio) <= TOLERANCE * ratio:
            break
    return log_evidence(alpha, beta, projected, energy, spectrum, images, width) / images


def log_evidence(
    alpha: float,
    beta: float,
    projected: NDArray[np.float64],
    energy: float,
    spectrum: NDArray[np.float64],
    images: int,
    width: int,
) -> float:
    """Log probability of targets under weights ~ N(0, 1/alpha) and noise ~ N(0, 1/beta).

    ``projected`` (R,) are the targets along the left singular vectors, ``energy`` their squared
    length, ``spectrum`` (R,) the squared singular values of the features (images, width).
    """
    damping = alpha / (alpha + beta * spectrum)
    weights = float((spectrum * (beta * projected / (alpha + beta * spectrum)) ** 2).sum())
    residual = float(((damping * projected) ** 2).sum()) + max(
        energy - float(projected @ projected), 0.0
    )
    determinant = float(np.log(alpha + beta * spectrum).sum()) + (width - len(spectrum)) * np.log(
        alpha
    )
    total = 0.5 * (
        width * np.log(alpha)
        + images * np.log(beta / (2 * np.pi))
        - beta * residual
        - alpha * weights
        - determinant
    )
    return float(total)
