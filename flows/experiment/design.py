"""What an experiment varies, and which combinations of it are run: all of them, a Sobol sample, or
what Optuna asks for.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from stages.core.errors import ConfigError
from stages.core.io import canonical_json
from stages.core.random import address

DATA = "data"
SEED = "seed"
RANGE_LEVELS = 16
"""Steps a range such as ``1e-4..1e-1`` is cut into, so that two draws of one step are one cell."""


@dataclass(frozen=True)
class Factor:
    """One thing that varies: ``data``, or the key of a parameter, with its levels in the order
    given.
    """

    key: str
    levels: tuple[Any, ...]
    ranged: bool = False


@dataclass(frozen=True)
class Cell:
    """One run of the pipeline: a dataset version, parameter values and a seed."""

    data: str
    settings: tuple[tuple[str, Any], ...]
    seed: int

    @property
    def configuration(self) -> dict[str, Any]:
        """What was chosen, without the seed: cells that agree in it are repetitions."""
        return {DATA: self.data, **dict(self.settings)}

    @property
    def identity(self) -> str:
        """Ten characters, the same for the same cell in every session."""
        return hashlib.sha256(canonical_json([self.configuration, self.seed]).encode()).hexdigest()[
            :10
        ]

    @property
    def label(self) -> str:
        """For people: ``v1 pretrain.method=simclr seed=0``."""
        return " ".join(
            [
                self.data,
                *(f"{key}={show(value)}" for key, value in self.settings),
                f"seed={self.seed}",
            ]
        )

    @property
    def assignments(self) -> list[str]:
        """What ``--set`` would be given."""
        pairs = [*self.settings, (SEED, self.seed)]
        return [f"{key}={canonical_json(value)}" for key, value in pairs]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the inverse is :meth:`of`."""
        return {
            DATA: self.data,
            "settings": [list(pair) for pair in self.settings],
            SEED: self.seed,
        }

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Cell:
        """Read what :meth:`as_dict` wrote."""
        return cls(
            value[DATA], tuple((key, setting) for key, setting in value["settings"]), value[SEED]
        )


def show(value: Any) -> str:
    """A value as a person would type it."""
    return value if isinstance(value, str) else canonical_json(value)


def parse_factor(text: str) -> Factor:
    """``key=a,b,[c, d]`` (values in YAML) or a numeric range ``key=1e-4..1e-1`` (logarithmic when
    it spans over a decade).

    Raises:
        ConfigError: when there is no key, no value, a value twice, or a range that runs backwards.
    """
    key, sign, raw = text.partition("=")
    key = key.strip()
    if not sign or not key or not raw.strip():
        raise ConfigError(
            f"--set {text}: expected key=value[,value…], for example --set"
            " pretrain.method=simclr,barlow_twins"
        )
    if key == SEED:
        raise ConfigError(
            "--set seed: say --seeds N, so that seeds count as repetitions and not as a factor"
        )
    if ".." in raw:
        return _range(key, raw)
    try:
        levels = tuple(_value(part) for part in _split(raw))
    except yaml.YAMLError:
        raise ConfigError(f"--set {text}: a value is not valid YAML") from None
    if len({canonical_json(level) for level in levels}) < len(levels):
        raise ConfigError(f"--set {text}: the same value stands there twice")
    return Factor(key, levels)


def _value(text: str) -> Any:
    """YAML, but ``1e-4`` is a number here as everywhere else."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _split(raw: str) -> list[str]:
    """Split at commas outside brackets."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(raw):
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            parts.append(raw[start:place])
            start = place + 1
    return [part.strip() for part in [*parts, raw[start:]]]


def _range(key: str, raw: str) -> Factor:
    ends = [_value(part) for part in raw.split("..", 1)]
    numbers = all(
        isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)
        for end in ends
    )
    if not numbers or not ends[0] < ends[1]:
        raise ConfigError(
            f"--set {key}={raw}: a range is two numbers, the smaller first, for example 1e-4..1e-1"
        )
    low, high = ends
    steps = [step / (RANGE_LEVELS - 1) for step in range(RANGE_LEVELS)]
    if low > 0 and high / low > 10:
        levels = [low * math.exp(step * math.log(high / low)) for step in steps]
    else:
        levels = [low + step * (high - low) for step in steps]
    if all(isinstance(end, int) for end in ends):
        return Factor(key, tuple(dict.fromkeys(round(level) for level in levels)), ranged=True)
    return Factor(key, tuple(dict.fromkeys(float(f"{level:.4g}") for level in levels)), ranged=True)


def factors_of(data: Sequence[str], settings: Iterable[str]) -> list[Factor]:
    """The dataset versions as first factor, then one per ``--set``.

    Raises:
        ConfigError: when a version or a key is named twice.
    """
    factors = [Factor(DATA, tuple(data)), *(parse_factor(text) for text in settings)]
    if len(set(data)) < len(data):
        raise ConfigError(f"--data {','.join(data)}: the same version stands there twice")
    keys = [factor.key for factor in factors]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(
                f"--set {key}: given twice; list its values once, separated by commas"
            )
    return factors


def cells_of(choice: Mapping[str, Any], seeds: Sequence[int]) -> list[Cell]:
    """The repetitions of one configuration."""
    settings = tuple((key, value) for key, value in choice.items() if key != DATA)
    return [Cell(choice[DATA], settings, seed) for seed in seeds]


def factorial(factors: Sequence[Factor], seeds: Sequence[int]) -> list[Cell]:
    """Every combination, the seeds of one configuration next to each other.

    Raises:
        ConfigError: for a range, which has no finite list of values.
    """
    for factor in factors:
        if factor.ranged:
            raise ConfigError(
                f"--set {factor.key}: a range needs --sample N or --optuna N; a full factorial"
                " needs a list"
            )
    keys = [factor.key for factor in factors]
    product = itertools.product(*(factor.levels for factor in factors))
    return [
        cell for levels in product for cell in cells_of(dict(zip(keys, levels, strict=True)), seeds)
    ]


def sobol(factors: Sequence[Factor], seeds: Sequence[int], count: int) -> list[Cell]:
    """``count`` different configurations spread evenly over all factors, each with every seed.

    A scrambled Sobol sequence ("On the distribution of points in a cube and the approximate
    evaluation of integrals", 1967); fewer than ``count`` when there are no more combinations.
    """
    from scipy.stats import qmc

    possible = math.prod(len(factor.levels) for factor in factors)
    if count >= possible and not any(factor.ranged for factor in factors):
        return factorial(factors, seeds)
    sampler = qmc.Sobol(len(factors), rng=address(0, "sobol") % (1 << 32))
    chosen: dict[tuple[int, ...], None] = {}
    for _ in range(64):
        for point in sampler.random(1 << max(1, (count - 1).bit_length())):
            place = tuple(
                min(int(x * len(factor.levels)), len(factor.levels) - 1)
                for x, factor in zip(point, factors, strict=True)
            )
            if len(chosen) < min(count, possible):
                chosen.setdefault(place)
        if len(chosen) >= min(count, possible):
            break
    return [
        cell
        for place in chosen
        for cell in cells_of(
            {
                factor.key: factor.levels[index]
                for factor, index in zip(factors, place, strict=True)
            },
            seeds,
        )
    ]
