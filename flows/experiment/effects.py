"""What an experiment's numbers say: how much each factor explains, and whether a dataset version is
better or just luckier.

Repetitions differ in the seed alone, so their spread is the yardstick ("seed noise"). Numpy and
scipy only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.experiment.design import DATA, show
from stages.core.io import canonical_json

Array = NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Result:
    """One finished cell: its configuration (data and settings, no seed), its seed and its score."""

    configuration: Mapping[str, Any]
    seed: int
    score: float

    @property
    def key(self) -> str:
        """Equal for repetitions of one configuration."""
        return canonical_json(self.configuration)


@dataclass(frozen=True)
class Noise:
    """The pooled spread of repetitions: standard deviation and how many degrees of freedom stand
    behind it.
    """

    deviation: float
    freedom: int


@dataclass(frozen=True)
class Estimate:
    """A mean over repetitions (and other factors) with its 95 % interval; infinite where nothing
    was repeated.
    """

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class DatasetVerdict:
    """The comparison of two dataset versions, and the sentence that says it."""

    best: str
    other: str
    difference: Estimate
    real: bool
    sentence: str


def seed_noise(results: Sequence[Result]) -> Noise:
    """Pooled within-configuration standard deviation; ``freedom`` is 0 when no configuration was
    repeated.
    """
    repeated = _groups(results)
    freedom = sum(len(group) - 1 for group in repeated.values())
    if not freedom:
        return Noise(math.nan, 0)
    squares = sum(
        float(((values := np.array(group)) - values.mean()) @ (values - values.mean()))
        for group in repeated.values()
    )
    return Noise(math.sqrt(squares / freedom), freedom)


def estimate(scores: Sequence[float], noise: Noise) -> Estimate:
    """Mean of the scores, interval from the pooled seed noise (Student's t)."""
    return _interval(
        float(np.mean(scores)),
        noise.deviation / math.sqrt(len(scores)),
        noise,
        len(scores),
        _student(noise),
    )


def varied(results: Sequence[Result]) -> list[str]:
    """Keys with two or more levels among the results, in the order they were given."""
    keys = dict.fromkeys(key for result in results for key in result.configuration)
    return [
        key
        for key in keys
        if len({canonical_json(result.configuration.get(key)) for result in results}) > 1
    ]


def main_effect(results: Sequence[Result], key: str) -> dict[str, Estimate]:
    """Mean score at each level of a factor over everything else, with its interval; levels in the
    order they appear.
    """
    noise = seed_noise(results)
    levels: dict[str, list[float]] = {}
    for result in results:
        levels.setdefault(show(result.configuration.get(key)), []).append(result.score)
    return {level: estimate(scores, noise) for level, scores in levels.items()}


def compare(results: Sequence[Result], first: str, second: str, versions: int = 2) -> Estimate:
    """Score of dataset version ``first`` minus ``second`` over the settings both were run with.

    The interval is Tukey and Kramer's for the comparison of ``versions`` groups, so picking the
    best of many is paid for; its noise is the seed noise. ``count`` is the number of settings
    compared; nan when there is none. Of a sample, whose versions share few settings, it is the
    difference with the other factors held equal by a linear model instead.
    """
    noise = seed_noise(results)
    cells: dict[str, dict[str, list[float]]] = {}
    for result in results:
        others = {key: value for key, value in result.configuration.items() if key != DATA}
        cells.setdefault(canonical_json(others), {}).setdefault(
            result.configuration[DATA], []
        ).append(result.score)
    pairs = [
        (both[first], both[second]) for both in cells.values() if first in both and second in both
    ]
    fewest = min(sum(version in both for both in cells.values()) for version in (first, second))
    if 2 * len(pairs) < fewest and (found := _held_equal(results, first, second, versions)):
        return found
    if not pairs:
        return Estimate(math.nan, -math.inf, math.inf, 0)
    difference = float(np.mean([np.mean(a) - np.mean(b) for a, b in pairs]))
    error = noise.deviation * math.sqrt(sum(1 / len(a) + 1 / len(b) for a, b in pairs)) / len(pairs)
    factor = _tukey(max(2, versions), noise.freedom) if noise.freedom else math.nan
    return _interval(difference, error, noise, len(pairs), factor)


def _held_equal(
    results: Sequence[Result], first: str, second: str, versions: int
) -> Estimate | None:
    """``first`` minus ``second`` in an additive model of the means of all configurations; None
    where that cannot tell.

    What the model leaves over, interactions and seed noise alike, is the noise of the interval.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.key, []).append(result)
    ones = [group[0].configuration for group in groups.values()]
    scores = np.array([np.mean([result.score for result in group]) for group in groups.values()])
    names = list(dict.fromkeys(one[DATA] for one in ones))
    data = np.array([[float(one[DATA] == name) for name in names] for one in ones])
    others = [encode([one.get(key) for one in ones]) for key in varied(results) if key != DATA]
    design = np.concatenate([data, *others], axis=1)
    freedom = len(scores) - int(np.linalg.matrix_rank(design))
    contrast = np.zeros(design.shape[1])
    contrast[names.index(first)], contrast[names.index(second)] = 1.0, -1.0
    inverse = np.linalg.pinv(design.T @ design)
    if freedom < 1 or not np.allclose(
        contrast @ inverse @ (design.T @ design), contrast, atol=1e-6
    ):
        return None
    fitted = inverse @ design.T @ scores
    left = scores - design @ fitted
    noise = Noise(math.sqrt(float(left @ left) / freedom), freedom)
    error = noise.deviation * math.sqrt(float(contrast @ inverse @ contrast))
    return _interval(
        float(contrast @ fitted), error, noise, len(scores), _tukey(max(2, versions), freedom)
    )


@cache
def _tukey(groups: int, freedom: int) -> float:
    """How many standard errors the interval of the best of ``groups`` reaches; a third of a second
    of integration each.
    """
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(CONFIDENCE, groups, freedom)) / math.sqrt(2)


def verdict(
    results: Sequence[Result], metric: str, higher_is_better: bool = True
) -> DatasetVerdict | None:
    """Which dataset version is best, by how much over the next, and whether that is more than seed
    noise.

    None when fewer than two versions have results.
    """
    versions = list(main_effect(results, DATA))
    if len(versions) < 2:
        return None
    sign = 1 if higher_is_better else -1
    lead = {version: sign * _rank(results, version, versions) for version in versions}
    ranked = sorted(versions, key=lambda version: (math.isnan(lead[version]), -lead[version]))
    best, other = ranked[:2]
    if (
        sign * compare(results, best, other, len(versions)).value < 0
    ):  # its lead is over versions the other was not run beside
        best, other = other, best
    difference = compare(results, best, other, len(versions))
    real = difference.low > 0 or difference.high < 0
    return DatasetVerdict(
        best,
        other,
        difference,
        real,
        _sentence(best, other, difference, real, metric, len(versions)),
    )


def _sentence(
    best: str, other: str, difference: Estimate, real: bool, metric: str, versions: int
) -> str:
    if not difference.count:
        return (
            f"Dataset versions {best} and {other} have no finished settings in common, so nothing"
            f" can be said about {metric}."
        )
    size = (
        f"{abs(difference.value):.4g} {'higher' if difference.value > 0 else 'lower'} {metric} than"
        f" {other}"
    )
    if math.isinf(difference.low):
        return (
            f"Dataset version {best} has {size}, but no cell was repeated: --seeds 3 tells whether"
            " that is more than seed noise."
        )
    interval = f"95 % interval {difference.low:+.4g} to {difference.high:+.4g}"
    among = f", best of {versions}" if versions > 2 else ""
    if real:
        return (
            f"Dataset version {best} is better{among}: {size} ({interval}), which is more than seed"
            " noise."
        )
    none = f"No difference between dataset versions {best} and {other}{among}"
    return f"{none}: {best} has {size} ({interval}), which seed noise can explain."


def _rank(results: Sequence[Result], version: str, versions: Sequence[str]) -> float:
    """Mean difference to the other versions over shared settings, so that a failed cell does not
    tilt the order; nan without.
    """
    gaps = [compare(results, version, other).value for other in versions if other != version]
    known = [gap for gap in gaps if not math.isnan(gap)]
    return float(np.mean(known)) if known else math.nan


def _groups(results: Sequence[Result]) -> dict[str, list[float]]:
    """The scores of every configuration's repetitions."""
    found: dict[str, list[float]] = {}
    for result in results:
        found.setdefault(result.key, []).append(result.score)
    return found


def _student(noise: Noise) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, noise.freedom)) if noise.freedom else math.nan


def _interval(value: float, error: float, noise: Noise, count: int, factor: float) -> Estimate:
    if not noise.freedom:
        return Estimate(value, -math.inf, math.inf, count)
    return Estimate(value, value - factor * error, value + factor * error, count)


def encode(values: Sequence[Any]) -> Array:
    """Values (n,) of a factor as columns (n, k): one a level but the first; many numeric levels
    become a line and a parabola.
    """
    levels = list(dict.fromkeys(canonical_json(value) for value in values))
    if len(levels) > 8 and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    ):
        ranks = np.array([sorted(set(values)).index(value) for value in values], dtype=np.float64)
        ranks = ranks / ranks.max() - 0.5
        return np.stack([ranks, ranks**2], axis=1)
    return np.array(
        [[float(canonical_json(value) == level) for level in levels[1:]] for value in values]
    )
