"""Choice of images to label next, from features, the labels there are and a classifier's answers.

Typical images pay while labels are few, uncertain ones when there are many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from stages.core.metrics.representation import Array, normalise

Mask = NDArray[np.bool_]
NEIGHBOURS = 20
BLOCK = 1024
"""Labelled images that distances are computed to at once."""
MOST_CLUSTERS = 500
MORE_GROUPS = 0.5
"""Groups of like images, over the number of known classes, among which unlabelled ones are looked
for.
"""
NEW_AT_MOST = 0.5
"""Fraction of a choice that goes to kinds without a label, so that the strategy has its say."""


def choose(
    strategy: str, features: Array, labelled: Mask, count: int, probabilities: Array, seed: int
) -> tuple[list[int], int]:
    """Return the positions of the images to label, and how many of them come first because nothing
    like them is labelled.

    Args:
        strategy: a name of :data:`STRATEGIES`.
        features: of all images (n, D). labelled: which of them have a label (n,).
        probabilities: of a classifier (n, K).
    """
    unit = normalise(features)
    order = STRATEGIES[strategy](unit, labelled, count, probabilities, seed)
    known = probabilities.shape[1]
    groups = known + max(2, round(MORE_GROUPS * known))
    first = new_kinds(unit, labelled, groups, seed)[: max(1, round(NEW_AT_MOST * count))]
    taken = set(first)
    picked = list(first)
    for position in order:
        if len(picked) == count:
            break
        if position not in taken:
            taken.add(position)
            picked.append(position)
    return picked, len(first)


def new_kinds(unit: Array, labelled: Mask, groups: int, seed: int) -> list[int]:
    """Return the most typical image of every group without a label, of the largest group first."""
    cluster = _clusters(unit, min(groups, len(unit)), seed)
    alone = [
        np.flatnonzero(cluster == group)
        for group in range(cluster.max() + 1)
        if not labelled[cluster == group].any()
    ]
    alone.sort(key=lambda members: (-len(members), int(members[0])))
    return [int(members[np.argmax(typicality(unit[members]))]) for members in alone]


def margin(
    unit: Array, labelled: Mask, count: int, probabilities: Array, seed: int
) -> Iterator[int]:
    """Yield images by the gap between their two likeliest classes, the smallest first.

    Paper: Is Margin All You Need? An Extensive Empirical Study of Active Learning on Tabular Data,
    2022.
    """
    top = np.sort(probabilities, axis=1)[:, -2:]
    gap = top[:, -1] - top[:, 0]
    order = np.argsort(gap, kind="stable")
    yield from (int(position) for position in order if not labelled[position])


def typical(
    unit: Array, labelled: Mask, count: int, probabilities: Array, seed: int
) -> Iterator[int]:
    """Yield the most typical image of the largest cluster with the fewest labels, again and again.

    Paper: Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets, 2022. As
    there, there are as many clusters as labels after this choice, at most 500.
    """
    wanted = min(MOST_CLUSTERS, len(unit), int(labelled.sum()) + count)
    cluster = _clusters(unit, wanted, seed)
    members = [np.flatnonzero(cluster == number) for number in range(cluster.max() + 1)]
    ranked = []
    for own in members:
        scores = typicality(unit[own])
        ranked.append([int(own[at]) for at in np.argsort(-scores, kind="stable")])
    free = [[at for at in own if not labelled[at]] for own in ranked]
    covered = [int(labelled[own].sum()) for own in members]
    while any(free):
        open_ones = [number for number, own in enumerate(free) if own]
        best = min(open_ones, key=lambda number: (covered[number], -len(ranked[number]), number))
        covered[best] += 1
        yield free[best].pop(0)


def coverage(
    unit: Array, labelled: Mask, count: int, probabilities: Array, seed: int
) -> Iterator[int]:
    """Yield the image farthest from everything labelled or chosen, again and again.

    Paper: Active Learning for Convolutional Neural Networks: A Core-Set Approach, 2018 (its greedy
    k-centre).
    """
    if labelled.any():
        nearest = np.full(len(unit), np.inf, dtype=np.float32)
        known = np.flatnonzero(labelled)
        for start in range(0, len(known), BLOCK):
            block = unit[known[start : start + BLOCK]]
            nearest = np.minimum(nearest, np.min(1 - unit @ block.T, axis=1))
    else:
        nearest = 1 - unit @ normalise(unit.mean(axis=0, keepdims=True))[0]
    nearest = np.where(labelled, -np.inf, nearest)
    for _ in range(int((~labelled).sum())):
        best = int(np.argmax(nearest))
        yield best
        nearest = np.minimum(nearest, 1 - unit @ unit[best])
        nearest[best] = -np.inf


def mixed(
    unit: Array, labelled: Mask, count: int, probabilities: Array, seed: int
) -> Iterator[int]:
    """Yield typical and uncertain images in turn; none comes twice."""
    seen: set[int] = set()
    sources = [
        strategy(unit, labelled, count, probabilities, seed) for strategy in (typical, margin)
    ]
    while sources:
        for source in list(sources):
            found = next((position for position in source if position not in seen), None)
            if found is None:
                sources.remove(source)
                continue
            seen.add(found)
            yield found


def typicality(unit: Array) -> Array:
    """Return the inverse of the mean distance (n,) of unit vectors (n, D) to their nearest 20."""
    count = min(NEIGHBOURS, len(unit) - 1)
    if count < 1:
        return np.ones(len(unit), dtype=np.float32)
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(unit)
    distance, _ = found.kneighbors(unit)  # in blocks; the first one is the image itself
    scores: Array = 1 / np.maximum(distance[:, 1:].mean(axis=1), 1e-6)
    return scores


def _clusters(unit: Array, count: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans, MiniBatchKMeans

    kind = KMeans if count <= 50 else MiniBatchKMeans
    found: NDArray[np.int64] = kind(count, n_init=1, random_state=seed).fit_predict(unit)
    return found


Strategy = Callable[[Array, Mask, int, Array, int], Iterator[int]]
STRATEGIES: dict[str, Strategy] = {
    "margin": margin,
    "typical": typical,
    "coverage": coverage,
    "mixed": mixed,
}
