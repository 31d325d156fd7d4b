"""Do new images look like the old ones? Two-sample tests on features with a false-alarm rate that
is kept. Numpy and scipy only.

Three tests look at three things. The nearest-neighbour test sees any change of the joint
distribution, new clusters too; the classifier test sees a small change that many features share;
the per-feature tests say where a change sits. Each gets a third of the error budget, so that a
check of unchanged data raises an alarm in at most ``alpha`` of all checks. With enough images the
smallest change is significant, so an alarm also needs the change to be large enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.core.errors import DataError
from stages.core.metrics.two_sample import Separation, classifier_test
from stages.core.random import numpy_generator

Array = NDArray[np.float32]
FEWEST = 10
"""Images on either side below which no test says anything."""
TESTS = 3
"""Tests that share the error budget."""


@dataclass(frozen=True)
class NeighbourTest:
    """How often the nearest neighbours of an image come from its own side: 0 by chance alone, 1 for
    separate clouds.
    """

    excess: float
    p_value: float


@dataclass(frozen=True)
class FeatureTest:
    """One feature: the largest gap of its distribution functions (0 to 1), the p-value corrected
    for the number of features.
    """

    feature: str
    distance: float
    p_value: float


@dataclass(frozen=True)
class Drift:
    """The answer, and what it rests on; ``features`` come with the largest distance first."""

    drifted: bool
    alpha: float
    threshold: float
    reference: int
    new: int
    neighbours: NeighbourTest
    classifier: Separation
    features: tuple[FeatureTest, ...]

    @property
    def drifting_features(self) -> tuple[FeatureTest, ...]:
        """The features that changed, and by enough to matter."""
        return tuple(
            f
            for f in self.features
            if f.p_value <= self.alpha / TESTS and f.distance >= self.threshold
        )

    @property
    def sentence(self) -> str:
        """What a person wants to know, in one line."""
        sizes = f"{self.new:,} new images against {self.reference:,}"
        found = f"{len(self.drifting_features)} of {len(self.features)} features moved"
        near = (
            f"own-side neighbours {self.neighbours.excess:+.3f} over chance (p ="
            f" {self.neighbours.p_value:.2g})"
        )
        apart = (
            f"a classifier tells them apart by {self.classifier.excess:+.3f} (p ="
            f" {self.classifier.p_value:.2g})"
        )
        return f"{'Drift' if self.drifted else 'No drift'}: {sizes}; {near}; {apart}; {found}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"sentence": self.sentence}


def detect_drift(
    reference: Array,
    new: Array,
    *,
    alpha: float,
    threshold: float,
    seed: int,
    names: Sequence[str] | None = None,
    neighbours: int = 5,
    sample: int = 1000,
    permutations: int = 999,
) -> Drift:
    """Compare features (n, D) of known images with features (m, D) of new ones.

    Args:
        alpha: share of checks of unchanged data that may raise an alarm.
        threshold: least change that counts, on the scale of all effects (0 to 1).
        names: D names of the features; numbers by default.
        sample: images per side drawn for the two joint tests, whose cost grows with its square.
        permutations: at least; more where ``alpha`` is so small that fewer could never reach it.

    Raises:
        DataError: the two sides have different features, a value is not finite, or a side has fewer
            than ten images.
    """
    _check(reference, new)
    few = _draw(reference, sample, seed, "reference"), _draw(new, sample, seed, "new")
    permutations = enough(permutations, alpha / TESTS)
    near = neighbour_test(*few, neighbours, permutations, seed)
    apart = classifier_test(*few, permutations, seed)
    features = feature_tests(reference, new, names)
    joint = any(
        test.p_value <= alpha / TESTS and test.excess >= threshold for test in (near, apart)
    )
    drift = Drift(joint, alpha, threshold, len(reference), len(new), near, apart, features)
    return replace(drift, drifted=joint or bool(drift.drifting_features))


def enough(permutations: int, level: float) -> int:
    """Permutations whose smallest p-value reaches the level."""
    return max(permutations, math.ceil(1 / level) - 1)


def neighbour_test(
    reference: Array, new: Array, neighbours: int, permutations: int, seed: int
) -> NeighbourTest:
    """Nearest-neighbour two-sample test with a permutation p-value.

    "Multivariate Two-Sample Tests Based on Nearest Neighbors" (1986). Sides (n, D) and (m, D) are
    pooled and every feature is brought to unit scale; ``excess`` is the share of own-side
    neighbours, rescaled so that chance is 0 and all is 1.
    """
    pooled = np.concatenate([reference, new]).astype(np.float64)
    scale = pooled.std(axis=0)
    pooled = (pooled - pooled.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    nearest = _nearest(pooled, min(neighbours, len(pooled) - 1), seed)
    side = np.arange(len(pooled)) >= len(reference)
    chance = _chance(len(reference), len(new))
    observed = _own_side(nearest, side)
    draw = numpy_generator(seed, "drift permutations", len(pooled))
    reached = sum(
        _own_side(nearest, draw.permutation(side)) >= observed - 1e-12 for _ in range(permutations)
    )
    return NeighbourTest((observed - chance) / (1 - chance), (1 + reached) / (1 + permutations))


def feature_tests(
    reference: Array, new: Array, names: Sequence[str] | None = None
) -> tuple[FeatureTest, ...]:
    """Kolmogorov and Smirnov's test of each feature; p-values corrected by Holm's method ("A Simple
    Sequentially Rejective Multiple Test Procedure", 1979), largest distance first.
    """
    from scipy.stats import ks_2samp

    labels = (
        list(names) if names is not None else [str(column) for column in range(reference.shape[1])]
    )
    found = [
        ks_2samp(reference[:, column], new[:, column], method="asymp")
        for column in range(reference.shape[1])
    ]
    corrected = holm([float(test.pvalue) for test in found])
    tests = [
        FeatureTest(name, float(test.statistic), p)
        for name, test, p in zip(labels, found, corrected, strict=True)
    ]
    return tuple(sorted(tests, key=lambda test: -test.distance))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p-values, in the order given: rejecting those up to α errs anywhere with
    probability α at most.
    """
    order = np.argsort(p_values, kind="stable")
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _nearest(points: NDArray[np.float64], k: int, seed: int) -> NDArray[np.int64]:
    """Row numbers (n, k) of the nearest other points. Ties, common where images repeat, are broken
    at random: by row number they would favour one side.
    """
    order = numpy_generator(seed, "drift ties", len(points)).permutation(len(points))
    shuffled = points[order]
    squares = (shuffled**2).sum(axis=1)
    nearest = np.empty((len(points), k), dtype=np.int64)
    for start in range(0, len(points), 512):
        distance = (
            squares[start : start + 512, None]
            - 2 * shuffled[start : start + 512] @ shuffled.T
            + squares
        )
        rows = np.arange(len(distance))
        distance[rows, start + rows] = np.inf
        nearest[order[start : start + 512]] = order[np.argpartition(distance, k - 1, axis=1)[:, :k]]
    return nearest


def _own_side(nearest: NDArray[np.int64], side: NDArray[np.bool_]) -> float:
    """Share of neighbours on the own side, both sides counting the same however many images they
    have.
    """
    own = (side[nearest] == side[:, None]).mean(axis=1)
    return float((own[side].mean() + own[~side].mean()) / 2)


def _chance(first: int, second: int) -> float:
    total = first + second - 1
    return ((first - 1) / total + (second - 1) / total) / 2


def _draw(features: Array, count: int, seed: int, side: str) -> Array:
    if len(features) <= count:
        return features
    rows = numpy_generator(seed, "drift sample", side, len(features)).choice(
        len(features), count, replace=False
    )
    return features[np.sort(rows)]


def _check(reference: Array, new: Array) -> None:
    if reference.ndim != 2 or new.ndim != 2 or reference.shape[1] != new.shape[1]:
        raise DataError(f"drift: features {reference.shape} and {new.shape} cannot be compared")
    for side, features in (("reference", reference), ("new", new)):
        if len(features) < FEWEST:
            raise DataError(
                f"drift: {len(features)} {side} images are too few to say anything; give {FEWEST}"
                " or more"
            )
        if not np.isfinite(features).all():
            raise DataError(f"drift: the {side} features hold values that are not finite")


def image_statistics(images: NDArray[np.uint8], grey: bool = False) -> tuple[Array, list[str]]:
    """Plain numbers of images (N, C, H, W) that need no model: (N, D) and their names.

    Brightness, contrast and sharpness, a 4 × 4 thumbnail and, unless ``grey``, mean and spread of
    every colour channel.
    """
    values = images.astype(np.float32) / 255.0
    light = values.mean(axis=1)
    height, width = light.shape[1:]
    edges = (
        np.abs(np.diff(light, axis=1)).mean(axis=(1, 2)) * height
        + np.abs(np.diff(light, axis=2)).mean(axis=(1, 2)) * width
    )
    columns = [light.mean(axis=(1, 2)), light.std(axis=(1, 2)), edges]
    names = ["brightness", "contrast", "sharpness"]
    for row, top in enumerate(np.array_split(np.arange(height), 4)):
        for column, left in enumerate(np.array_split(np.arange(width), 4)):
            columns.append(light[:, top[0] : top[-1] + 1, left[0] : left[-1] + 1].mean(axis=(1, 2)))
            names.append(f"brightness at row {row + 1}, column {column + 1}")
    if not grey and values.shape[1] == 3:
        for channel, colour in enumerate(("red", "green", "blue")):
            columns += [values[:, channel].mean(axis=(1, 2)), values[:, channel].std(axis=(1, 2))]
            names += [f"{colour} mean", f"{colour} spread"]
    return np.stack(columns, axis=1).astype(np.float32), names
