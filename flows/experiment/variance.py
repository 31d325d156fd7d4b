"""How much of the scores' variance each factor of an experiment explains. Numpy only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from flows.experiment.effects import Array, Result, encode, seed_noise, varied


def variance_shares(results: Sequence[Result]) -> dict[str, float]:
    """Share of the variance of the scores that each factor, their interactions and the seed
    explain; the shares add up to 1.

    Factor shares are averages over all orders of entering the factors, which for a full factorial
    are the classic sums of squares and for a sample or with failed cells is still fair ("Relative
    Importance for Linear Regression in R: The Package relaimpo", 2006). ``interactions`` is what
    configurations explain beyond that; ``seed`` is the spread inside configurations. Without
    repetitions the two cannot be told apart and stand together. All zero when all scores are equal.
    """
    scores = np.array([result.score for result in results])
    keys, noise = varied(results), seed_noise(results)
    names = [*keys, *(("interactions", "seed") if noise.freedom else ("interactions or seed",))]
    total = float(((scores - scores.mean()) ** 2).sum())
    if total <= 1e-24 * max(1.0, float((scores**2).sum())):
        return dict.fromkeys(names, 0.0)
    columns = {key: encode([result.configuration.get(key) for result in results]) for key in keys}
    explained = {
        subset: _explained([columns[key] for key in subset], scores)
        for size in range(len(keys) + 1)
        for subset in itertools.combinations(keys, size)
    }
    shares = {key: _shapley(key, keys, explained) / total for key in keys}
    within = noise.deviation**2 * noise.freedom if noise.freedom else 0.0
    rest = max(0.0, 1 - within / total - sum(shares.values()))
    return {**shares, **dict(zip(names[len(keys) :], (rest, within / total), strict=False))}


def _explained(columns: Sequence[Array], scores: Array) -> float:
    """Sum of squares explained by an intercept and the columns, over the intercept alone."""
    design = np.concatenate([np.ones((len(scores), 1)), *columns], axis=1)
    fitted = design @ np.linalg.lstsq(design, scores, rcond=None)[0]
    return float(((fitted - scores.mean()) ** 2).sum())


def _shapley(key: str, keys: Sequence[str], explained: Mapping[tuple[str, ...], float]) -> float:
    """Mean gain from adding ``key``, over all orders of the factors."""
    others, gain = [name for name in keys if name != key], 0.0
    for size in range(len(others) + 1):
        weight = 1 / (len(keys) * math.comb(len(others), size))
        for subset in itertools.combinations(others, size):
            with_key = tuple(name for name in keys if name in subset or name == key)
            gain += weight * (explained[with_key] - explained[subset])
    return gain
