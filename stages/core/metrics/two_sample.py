"""Can a classifier tell two samples apart? A test for changes that move many features a little.
Numpy and scipy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.core.random import numpy_generator

RIDGE = 0.1
"""Strength of the ridge penalty, as a share of the number of images."""
BLOCK = 256


@dataclass(frozen=True)
class Separation:
    """How well images of one side are told from the other's: ``2 AUC - 1`` on images left out; 0 is
    chance.
    """

    excess: float
    p_value: float


def classifier_test(
    reference: NDArray[np.float32], new: NDArray[np.float32], permutations: int, seed: int
) -> Separation:
    """Ridge regression of the side on features (n, D), (m, D) and their squares, each image
    predicted by all others.

    "Revisiting Classifier Two-Sample Tests" (2017), with the side permuted for the p-value. Squares
    show a change of spread alone; leaving one out is exact and free for ridge regression, so a
    permutation costs one product with an (n + m) square matrix.
    """
    fitted = smoother(_described(np.concatenate([reference, new]).astype(np.float64)))
    side = np.arange(len(fitted)) >= len(reference)
    draw = numpy_generator(seed, "drift classifier", len(side))
    observed = _told_apart(fitted, side[None])[0]
    reached, left = 0, permutations
    while left:
        mixed = np.stack([draw.permutation(side) for _ in range(min(BLOCK, left))])
        reached += int((_told_apart(fitted, mixed) >= observed - 1e-12).sum())
        left -= len(mixed)
    return Separation(float(observed), (1 + reached) / (1 + permutations))


def smoother(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (n, n) that takes targets to the ridge fit on columns of mean 0, intercept
    included.
    """
    gram = values @ values.T
    penalty = RIDGE * len(values)
    return gram @ np.linalg.inv(gram + penalty * np.eye(len(values))) + 1 / len(values)


def _described(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every feature and its square at mean 0 and spread 1: (n, 2 D)."""
    plain = _standard(values)
    return np.hstack([plain, _standard(plain**2)])


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = values.std(axis=0)
    standard: NDArray[np.float64] = (values - values.mean(axis=0)) / np.where(
        spread > 0, spread, 1.0
    )
    return standard


def _told_apart(fitted: NDArray[np.float64], sides: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``2 AUC - 1`` of each row of sides (p, n) by predictions that left the image itself out."""
    from scipy.stats import rankdata

    targets = sides.astype(np.float64)
    own = np.diag(fitted)
    left_out = (targets @ fitted - targets * own) / (1 - own)
    ranks = rankdata(np.round(left_out, 9), axis=1)
    second = targets.sum(axis=1)
    first = targets.shape[1] - second
    area = ((ranks * targets).sum(axis=1) - second * (second + 1) / 2) / (first * second)
    excess: NDArray[np.float64] = 2 * area - 1
    return excess
