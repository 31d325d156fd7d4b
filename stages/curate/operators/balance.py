"""Cluster-balanced sampling to ``curate.budget``: rare kinds of images are kept, common ones thinned.

Automatic Data Curation for Self-Supervised Learning: A Clustering-Based Approach (2024): k-means on the features, k-means on its
centroids, and so on; then the budget is shared out from the top, at each level as equally as the cluster sizes allow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.core.manifest import Rows
from stages.core.params import Auto, Positive, Section
from stages.core.random import numpy_generator
from stages.curate import kmeans
from stages.curate.state import Curation


@dataclass(frozen=True)
class _Points:
    """Centroids fetched like features."""

    values: Tensor

    def __call__(self, rows: Rows) -> Tensor:
        return self.values[torch.from_numpy(rows)]


class Settings(Section):
    """``clusters`` per level, finest first: a number, a list, or ``auto`` (half a root of the data, then the root of that)."""

    clusters: Auto | Positive | tuple[Positive, ...] = "auto"


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Name the cluster of every readable row and thin the candidates to the budget; labelled images go last."""
    rows = curation.candidates()
    if not len(rows):
        return {"clusters": 0, "dropped": 0}
    levels = level_sizes(settings.clusters, len(rows))
    centroids = kmeans.fit(curation.features, rows, levels[0], curation.seed)
    readable = curation.manifest.rows(curation.manifest.ok)
    curation.cluster[readable] = kmeans.assign(curation.features, readable, centroids)
    parents = []
    for clusters in levels[1:]:
        index = np.arange(len(centroids), dtype=np.int64)
        fetch = _Points(centroids)
        centroids = kmeans.fit(fetch, index, clusters, curation.seed)
        parents.append(kmeans.assign(fetch, index, centroids))

    leaf = curation.cluster[rows]
    quotas = share_out(leaf, curation.labelled[rows], parents, levels[0], curation.budget)
    chosen = _draw(leaf, curation.labelled[rows], quotas, curation.seed)
    lost = rows[~chosen]
    curation.drop(lost, [f"balance: cluster {number} is over its share" for number in curation.cluster[lost]])
    _weigh(curation, rows, leaf, chosen)
    return {"clusters": len(np.unique(leaf)), "dropped": len(lost)}


def level_sizes(clusters: Auto | int | tuple[int, ...], rows: int) -> tuple[int, ...]:
    """Clusters per level, finest first; never more than rows."""
    if clusters == "auto":
        fine = max(2, round((rows / 2) ** 0.5))
        return (min(fine, rows), round(fine**0.5)) if fine >= 64 else (min(fine, rows),)
    return tuple(min(count, rows) for count in (clusters if isinstance(clusters, tuple) else (clusters,)))


def share_out(leaf: np.ndarray, labelled: np.ndarray, parents: list[np.ndarray], leaves: int, budget: int) -> np.ndarray:
    """How many images each of the finest clusters keeps: int64 ``(leaves,)``. All labelled ones where the budget has room."""
    base = [np.bincount(leaf[labelled], minlength=leaves)] if labelled.sum() <= budget else [np.zeros(leaves, np.int64)]
    sizes = [np.bincount(leaf, minlength=leaves)]
    for parent in parents:
        coarse = int(parent.max()) + 1
        sizes.append(np.bincount(parent, sizes[-1], coarse).astype(np.int64))
        base.append(np.bincount(parent, base[-1], coarse).astype(np.int64))
    quotas = allocate(budget, sizes[-1], base[-1])
    for level in range(len(parents) - 1, -1, -1):
        finer = np.zeros(len(sizes[level]), np.int64)
        for cluster, quota in enumerate(quotas):
            members = np.flatnonzero(parents[level] == cluster)
            finer[members] = allocate(int(quota), sizes[level][members], base[level][members])
        quotas = finer
    return quotas


def allocate(budget: int, sizes: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Share ``budget`` over clusters as equally as ``base <= share <= size`` allows; what is left over goes to the first ones."""
    if budget >= sizes.sum():
        return sizes.astype(np.int64)

    def filled(level: int) -> np.ndarray:
        return np.asarray(np.maximum(base, np.minimum(level, sizes)), np.int64)

    low, high = 0, int(sizes.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if filled(middle).sum() <= budget else (low, middle - 1)
    shares = filled(low)
    growing = np.flatnonzero(filled(low + 1) > shares)
    shares[growing[: max(0, budget - int(shares.sum()))]] += 1
    return shares


def _draw(leaf: np.ndarray, labelled: np.ndarray, quotas: np.ndarray, seed: int) -> np.ndarray:
    """Which rows stay: in every cluster its quota, labelled first, otherwise by lot."""
    lot = numpy_generator(seed, "balance").permutation(len(leaf))
    order = np.lexsort((lot, ~labelled, leaf))
    starts = np.concatenate([[0], np.cumsum(np.bincount(leaf, minlength=len(quotas)))])
    place = np.arange(len(leaf)) - starts[leaf[order]]
    chosen = np.zeros(len(leaf), bool)
    chosen[order] = place < quotas[leaf[order]]
    return chosen


def _weigh(curation: Curation, rows: Rows, leaf: np.ndarray, chosen: np.ndarray) -> None:
    """A kept image stands for as many as its cluster had per kept one, on average 1."""
    before, after = np.bincount(leaf), np.bincount(leaf[chosen], minlength=leaf.max() + 1)
    stands_for = (before / np.maximum(after, 1))[leaf[chosen]]
    curation.weight[rows[chosen]] = (stands_for / stands_for.mean()).astype(np.float32) if len(stands_for) else 0
