"""What a number is worth: intervals, paired differences, calibration, confusion. numpy and scipy
only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.core.random import numpy_generator

Values = NDArray[np.float64]
LEVEL = 0.95
CHUNK = 1 << 22
"""Resampled items drawn at once; part of what the draws are, so not a parameter."""


@dataclass(frozen=True)
class Interval:
    """A value with a 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is one: the interval does not contain zero."""
        return self.low > 0 or self.high < 0

    def as_dict(self, name: str = "value") -> dict[str, float]:
        """For metrics files."""
        return {name: self.value, "low": self.low, "high": self.high}


def resampled_means(values: ArrayLike, resamples: int, seed: int) -> Values:
    """Means (resamples,) over images drawn with replacement from ``values`` (n,) or (n, draws).

    The columns of a matrix are repetitions (subsets of labels, seeds): they are drawn with
    replacement as well, so the spread holds both what images happened to be tested and what labels
    happened to be given. Equal shapes and seeds draw alike, which is what makes two calls a paired
    comparison.
    """
    matrix = np.asarray(values, dtype=np.float64)
    return redrawn(
        column_means(matrix[:, None] if matrix.ndim == 1 else matrix, resamples, seed), seed
    )


def column_means(matrix: Values, resamples: int, seed: int) -> Values:
    """Means (resamples, columns) of each column of (n, columns), all of them over the same drawn
    images.
    """
    count, columns = matrix.shape
    images = numpy_generator(seed, "bootstrap", count)
    step = max(1, CHUNK // count)
    means = np.empty((resamples, columns))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        picks = images.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(picks.ravel(), minlength=size * count).reshape(size, count)
        means[start : start + size] = times.astype(np.float64) @ matrix / count
    return means


def redrawn(means: Values, seed: int) -> Values:
    """Average (resamples, draws) over draws taken with replacement: (resamples,)."""
    resamples, draws = means.shape
    if draws == 1:
        return means[:, 0]
    columns = numpy_generator(seed, "bootstrap draws", draws).integers(
        draws, size=(resamples, draws)
    )
    averaged: Values = np.take_along_axis(means, columns, axis=1).mean(axis=1)
    return averaged


def interval(value: float, resampled: Values) -> Interval:
    """The value with the middle 95 % of its resampled selves."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def bootstrap_interval(values: ArrayLike, resamples: int, seed: int) -> Interval:
    """Percentile interval of the mean of (n,) or (n, draws) values such as 0/1 correctness.

    Raises:
        ValueError: when there is nothing to resample.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if not matrix.size:
        raise ValueError("an interval needs one or more values")
    return interval(float(matrix.mean()), resampled_means(matrix, resamples, seed))


def paired_bootstrap(a: ArrayLike, b: ArrayLike, resamples: int, seed: int) -> Interval:
    """Interval of mean(a) − mean(b), the same images (and draws) in both: far tighter than
    comparing two intervals.

    One of the two may lack the draws: (n,) against (n, draws) compares it with each repetition.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != second.ndim:
        first = first[:, None] if first.ndim == 1 else first
        second = second[:, None] if second.ndim == 1 else second
    return bootstrap_interval(first - second, resamples, seed)


def mcnemar(a: ArrayLike, b: ArrayLike) -> float:
    """Exact two-sided p-value that two classifiers with correctness a and b (n,) err equally often.

    "Note on the sampling error of the difference between correlated proportions or percentages"
    (1947), binomial form.
    """
    from scipy.stats import binomtest

    first, second = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    return 1.0 if gained + lost == 0 else float(binomtest(gained, gained + lost).pvalue)


def wilson_interval(successes: int, trials: int) -> Interval:
    """Score interval of a share, right where a class has few images or none is wrong.

    "Probable Inference, the Law of Succession, and Statistical Inference" (1927).
    """
    if trials == 0:
        return Interval(0.0, 0.0, 1.0)
    z = 1.959963984540054
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = (
        z
        / (1 + z * z / trials)
        * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    )
    return Interval(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> list[Bin]:
    """Accuracy against confidence in equal-width bins (low, high]; probabilities (n, K), labels
    (n,). Empty bins are left out.
    """
    shares, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    confidence, correct = shares.max(axis=1), shares.argmax(axis=1) == truth
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = []
    for index in range(bins):
        inside = place == index
        if inside.any():
            spot = (float(confidence[inside].mean()), float(correct[inside].mean()))
            rows.append(Bin(index / bins, (index + 1) / bins, int(inside.sum()), *spot))
    return rows


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy, weighted by bin size.

    "On Calibration of Modern Neural Networks" (2017).
    """
    rows = reliability(probabilities, labels, bins)
    total = sum(row.count for row in rows)
    return (
        sum(row.count * abs(row.confidence - row.accuracy) for row in rows) / total
        if total
        else 0.0
    )


def log_loss(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative log-likelihood; probabilities (n, K), labels (n,)."""
    shares, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    return float(-np.log(np.maximum(shares[np.arange(len(truth)), truth], 1e-12)).mean())


def confusion(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Counts (K, K): row is the truth, column the prediction."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (np.asarray(labels), np.asarray(predicted)), 1)
    return counts
