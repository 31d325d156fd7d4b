"""A Gaussian mixture that finds out how many components it needs, with some points' components
known.

Learning Semi-supervised Gaussian Mixture Models for Generalized Category Discovery (2023): rounds
of assignment, then proposals to split a component in two and to merge two neighbours, each accepted
with the odds of the evidence for it. Points of one known class share a component, and two known
classes never merge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import gammaln, multigammaln

Array = NDArray[np.float64]
Index = NDArray[np.int64]
FREE = -1
ASSIGNMENTS = 5
NEIGHBOURS = 3
SETTLED = 5
CONCENTRATION = 10.0
LEAST = 4
"""Points that either half of a split must have."""


@dataclass(frozen=True)
class Prior:
    """Normal-inverse-Wishart: where components lie (``mean`` (d,), worth ``pull`` points) and how
    wide they are (``scatter`` (d, d), worth ``weight`` points).
    """

    mean: Array
    scatter: Array
    pull: float
    weight: float

    @classmethod
    def of(cls, points: Array, groups: Index) -> Prior:
        """Expects components as wide as the groups of points ``(n, d)`` are on average; a group of
        -1 does not count.
        """
        known = groups >= 0
        within = points[known].copy()
        for group in np.unique(groups[known]):
            mine = groups[known] == group
            within[mine] -= within[mine].mean(0)
        d = points.shape[1]
        freedom = max(len(within) - len(np.unique(groups[known])), 1)
        covariance = within.T @ within / freedom + 1e-6 * np.eye(d)
        weight = d + 2.0 + WORTH
        return cls(points.mean(0), covariance * (weight - d - 1), 0.01, weight)

    def after(self, points: Array) -> Prior:
        """The posterior once these points ``(n, d)`` are seen."""
        n = len(points)
        if not n:
            return self
        centre = points.mean(0)
        away, off = points - centre, centre - self.mean
        pull = self.pull + n
        scatter = self.scatter + away.T @ away + np.outer(off, off) * (self.pull * n / pull)
        return Prior((self.pull * self.mean + n * centre) / pull, scatter, pull, self.weight + n)

    def evidence(self, points: Array) -> float:
        """Log probability of the points being one component, whatever its mean and covariance."""
        n, d = points.shape
        then = self.after(points)
        total = -n * d / 2 * np.log(np.pi) + d / 2 * (np.log(self.pull) - np.log(then.pull))
        total += multigammaln(then.weight / 2, d) - multigammaln(self.weight / 2, d)
        total += self.weight / 2 * _log_det(self.scatter) - then.weight / 2 * _log_det(then.scatter)
        return float(total)

    def log_density(self, points: Array) -> Array:
        """Log density ``(n,)`` of the Gaussian in the middle of this belief."""
        d = len(self.mean)
        covariance = self.scatter / (self.weight - d - 1)
        root = np.linalg.cholesky(covariance)
        white = np.linalg.solve(root, (points - self.mean).T)
        log_det = float(2 * np.log(np.diagonal(root)).sum())
        density: Array = -0.5 * ((white**2).sum(0) + d * np.log(2 * np.pi) + log_det)
        return density


WORTH = 10.0
"""How many points the expected width of a component is worth."""


@dataclass(frozen=True)
class Mixture:
    """Components ``0…k-1``: which each point ``(n,)`` belongs to, and the known class each is tied
    to ``(k,)``, -1 for none.
    """

    component: Index
    tied: Index

    @property
    def count(self) -> int:
        """How many components there are."""
        return len(self.tied)


def discover(
    points: Array, known: Index, start: int, rounds: int, draw: np.random.Generator
) -> Mixture:
    """How many groups points ``(n, d)`` form; ``known`` ``(n,)`` holds known classes, -1 where
    there is none.

    Starts from the known classes and ``start`` components in all; stops once nothing changed for
    five rounds.
    """
    mixture = _first(points, known, start, draw)
    prior = Prior.of(points, known if len(np.unique(known[known >= 0])) > 1 else mixture.component)
    quiet = 0
    for _ in range(rounds):
        before = mixture.count
        mixture = _assigned(points, known, mixture, prior)
        mixture, split = _split(points, known, mixture, prior, draw)
        mixture, merged = _merge(points, mixture, prior, draw)
        quiet = 0 if split or merged else quiet + 1
        if quiet >= SETTLED and mixture.count == before:
            break
    return _assigned(points, known, mixture, prior)


def log_split(prior: Prior, one: Array, two: Array) -> float:
    """Log odds of two components against one holding all points of both."""
    sizes = gammaln(len(one)) + gammaln(len(two)) - gammaln(len(one) + len(two))
    apart = prior.evidence(one) + prior.evidence(two) - prior.evidence(np.concatenate([one, two]))
    return float(np.log(CONCENTRATION) + sizes + apart)


def nearest_component(points: Array, learnt: Array, mixture: Mixture, known: Index) -> Index:
    """The most probable component of new points ``(m, d)`` under a mixture learnt on other
    points.
    """
    groups = known if len(np.unique(known[known >= 0])) > 1 else mixture.component
    return np.asarray(
        _scores(points, learnt, mixture, Prior.of(learnt, groups)).argmax(1), np.int64
    )


def _first(points: Array, known: Index, start: int, draw: np.random.Generator) -> Mixture:
    """Known classes are components; the rest is spread over as many more as asked for, by k-means++
    and nearest centre.
    """
    classes = np.unique(known[known >= 0])
    centres = [points[known == one].mean(0) for one in classes]
    while len(centres) < max(start, 1):
        distance = (
            cdist(points, np.array(centres), "sqeuclidean").min(1)
            if centres
            else np.ones(len(points))
        )
        centres.append(points[int(draw.choice(len(points), p=distance / distance.sum()))])
    component = cdist(points, np.array(centres), "sqeuclidean").argmin(1)
    component[known >= 0] = np.searchsorted(classes, known[known >= 0])
    tied = np.concatenate([classes, np.full(len(centres) - len(classes), FREE)])
    return _without_empty(Mixture(component, tied))


def _scores(points: Array, learnt: Array, mixture: Mixture, prior: Prior) -> Array:
    sizes = np.bincount(mixture.component, minlength=mixture.count)
    columns = []
    for number in range(mixture.count):
        belief = prior.after(learnt[mixture.component == number])
        columns.append(belief.log_density(points) + np.log(max(int(sizes[number]), 1)))
    return np.stack(columns, axis=1)


def _assigned(points: Array, known: Index, mixture: Mixture, prior: Prior) -> Mixture:
    """Points go to their most probable component until that changes little; known ones stay with
    their class.
    """
    for _ in range(ASSIGNMENTS):
        component = _scores(points, points, mixture, prior).argmax(1)
        for number in np.flatnonzero(mixture.tied >= 0):
            component[known == mixture.tied[number]] = number
        moved = int((component != mixture.component).sum())
        mixture = _without_empty(replace(mixture, component=component))
        if moved <= len(points) // 1000:
            break
    return mixture


def _split(
    points: Array, known: Index, mixture: Mixture, prior: Prior, draw: np.random.Generator
) -> tuple[Mixture, int]:
    """Propose to cut every component in two; a known class stays whole and keeps the half that
    holds most of it.
    """
    component, tied, done = mixture.component.copy(), mixture.tied.tolist(), 0
    for number in range(mixture.count):
        mine = np.flatnonzero(component == number)
        away = _halves(points[mine], draw)
        if tied[number] >= 0:
            fixed = known[mine] == tied[number]
            if away[fixed].mean() > 0.5:
                away = ~away
            away[fixed] = False
        if min(int(away.sum()), int((~away).sum())) < LEAST:
            continue
        if np.log(draw.random()) < log_split(prior, points[mine[~away]], points[mine[away]]):
            component[mine[away]] = len(tied)
            tied.append(FREE)
            done += 1
    return Mixture(component, np.array(tied, np.int64)), done


def _merge(
    points: Array, mixture: Mixture, prior: Prior, draw: np.random.Generator
) -> tuple[Mixture, int]:
    """Propose to join every component with each of its three nearest, but never two known
    classes.
    """
    component, tied = mixture.component.copy(), mixture.tied.copy()
    centres = np.stack([points[component == number].mean(0) for number in range(len(tied))])
    apart = cdist(centres, centres)
    alive = np.ones(len(tied), bool)
    for one in range(len(tied)):
        for two in np.argsort(apart[one], kind="stable")[1 : NEIGHBOURS + 1]:
            if not (alive[one] and alive[two]) or (tied[one] >= 0 and tied[two] >= 0):
                continue
            if np.log(draw.random()) < -log_split(
                prior, points[component == one], points[component == two]
            ):
                component[component == two] = one
                tied[one] = max(tied[one], tied[two])
                alive[two] = False
    return _without_empty(Mixture(component, tied)), int((~alive).sum())


def _halves(points: Array, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Two-means from a far pair: true where a point belongs to the second half."""
    first = points[int(draw.integers(len(points)))]
    two = points[((points - first) ** 2).sum(1).argmax()]
    one = points[((points - two) ** 2).sum(1).argmax()]
    away = np.zeros(len(points), bool)
    for _ in range(10):
        away = ((points - two) ** 2).sum(1) < ((points - one) ** 2).sum(1)
        if away.all() or not away.any():
            break
        one, two = points[~away].mean(0), points[away].mean(0)
    return np.asarray(away, bool)


def _without_empty(mixture: Mixture) -> Mixture:
    used, component = np.unique(mixture.component, return_inverse=True)
    return Mixture(component.astype(np.int64), mixture.tied[used])


def _log_det(matrix: Array) -> float:
    return float(2 * np.log(np.diagonal(np.linalg.cholesky(matrix))).sum())
