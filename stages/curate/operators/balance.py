"""Cluster-balanced sampling to ``curate.budget``: rare kinds of images are kept, common ones
thinned.

After Automatic Data Curation for Self-Supervised Learning: A Clustering-Based Approach (2024): many
small k-means clusters, which are clustered again; then the budget is shared out from the top, at
each level as equally as the cluster sizes allow. The paper makes every level by k-means and draws
centroids anew so that common kinds do not get most of them; here clusters are joined by average
linkage, which looks at how far apart they are and not at how many there are, so a rare kind keeps a
branch of its own.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from stages.core.data.manifest import Rows
from stages.core.random import numpy_generator
from stages.core.sections import Auto, Positive, Section
from stages.curate import kmeans
from stages.curate.curation import Curation

FINE_SHARE, FINEST = 3, 700
"""``auto``: a cluster for three images, up to this many clusters."""
BRANCHES = 2.5
"""``auto``: so many times the root of the finest clusters are joined to."""
LEAP, FEWEST = 1.15, 3
"""``auto``: fewer branches, but at least three, where the next two to join lie so many times as far
apart as the last two.
"""
MOST_LINKED = 4096
"""Clusters whose distances from each other are all held in memory (a quarter of a GiB)."""


class Settings(Section):
    """``clusters`` per level, finest first: a number, a list, or ``auto``, one for three images but
    at most 700, then 2.5 times the root of that, or fewer where the finest fall into fewer groups
    by themselves.
    """

    clusters: Auto | Positive | tuple[Positive, ...] = "auto"


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Name the cluster of every readable row and thin the candidates to the budget; labelled images
    go last.
    """
    rows = curation.candidates()
    if not len(rows):
        return {"clusters": 0, "dropped": 0}
    levels = level_sizes(settings.clusters, len(rows))
    centroids = kmeans.fit(curation.features, rows, levels[0], curation.seed)
    readable = curation.manifest.rows(curation.manifest.ok)
    curation.cluster[readable] = kmeans.assign(curation.features, readable, centroids)
    parents = join(centroids, levels[1:], curation.seed, by_leap=settings.clusters == "auto")

    leaf = curation.cluster[rows]
    lot = numpy_generator(curation.seed, "balance", "shares")
    quotas = share_out(leaf, curation.labelled[rows], parents, levels[0], curation.budget, lot)
    chosen = _draw(leaf, curation.labelled[rows], quotas, curation.seed)
    lost = rows[~chosen]
    curation.drop(
        lost, [f"balance: cluster {number} is over its quota" for number in curation.cluster[lost]]
    )
    _weigh(curation, rows, leaf, chosen)
    return {"clusters": len(np.unique(leaf)), "dropped": len(lost)}


def level_sizes(clusters: Auto | int | tuple[int, ...], rows: int) -> tuple[int, ...]:
    """Clusters per level, finest first; never more than rows."""
    if clusters == "auto":
        fine = max(1, min(FINEST, rows // FINE_SHARE))
        return fine, min(fine, round(BRANCHES * fine**0.5))
    return tuple(
        min(count, rows) for count in (clusters if isinstance(clusters, tuple) else (clusters,))
    )


def join(
    centroids: Tensor, levels: tuple[int, ...], seed: int, by_leap: bool = False
) -> list[np.ndarray]:
    """For each coarser level the parent of every cluster of the level below: at most so many, by
    average linkage.

    A level over more than 4,096 clusters is made by k-means. ``by_leap``: as many as :func:`linked`
    finds.
    """
    parents = []
    for clusters in levels:
        few = len(centroids) <= MOST_LINKED
        parent = (
            linked(centroids.double().numpy(), clusters, by_leap)
            if few
            else _by_k_means(centroids, clusters, seed)
        )
        parent = np.unique(parent, return_inverse=True)[1]
        sums = torch.zeros(int(parent.max()) + 1, centroids.shape[1]).index_add_(
            0, torch.from_numpy(parent), centroids
        )
        centroids = sums / torch.from_numpy(np.bincount(parent))[:, None]
        parents.append(parent)
    return parents


def linked(points: np.ndarray, groups: int, by_leap: bool = False) -> np.ndarray:
    """The group of each point, (n, D) to int64 (n,): the two groups nearest on average are joined
    until so many are left.

    ``by_leap``: joining goes on as long as a leap in their distance lies ahead, which tells groups
    that differ in kind from those inside a kind; where there is none, ``groups`` are left.
    """
    if len(points) <= groups:
        return np.arange(len(points), dtype=np.int64)
    tree = linkage(points, "average")
    if by_leap:
        apart = tree[:-groups:-1, 2]  # of the last two groups, of the two joined before …
        leaps = FEWEST + np.flatnonzero(apart[FEWEST - 2 : -1] >= LEAP * apart[FEWEST - 1 :])
        groups = int(leaps.max(initial=0)) or groups
    return np.asarray(fcluster(tree, groups, "maxclust"), np.int64) - 1


def _by_k_means(points: Tensor, groups: int, seed: int) -> np.ndarray:
    index = np.arange(len(points), dtype=np.int64)

    def fetch(rows: Rows) -> Tensor:
        return points[torch.from_numpy(rows)]

    return kmeans.assign(fetch, index, kmeans.fit(fetch, index, groups, seed))


def share_out(
    leaf: np.ndarray,
    labelled: np.ndarray,
    parents: list[np.ndarray],
    leaves: int,
    budget: int,
    lot: np.random.Generator,
) -> np.ndarray:
    """How many images each of the finest clusters keeps: int64 ``(leaves,)``. All labelled ones
    where the budget has room.

    Where some clusters get one more than others, ``lot`` says which.
    """
    base = (
        [np.bincount(leaf[labelled], minlength=leaves)]
        if labelled.sum() <= budget
        else [np.zeros(leaves, np.int64)]
    )
    sizes = [np.bincount(leaf, minlength=leaves)]
    for parent in parents:
        coarse = int(parent.max()) + 1
        sizes.append(np.bincount(parent, sizes[-1], coarse).astype(np.int64))
        base.append(np.bincount(parent, base[-1], coarse).astype(np.int64))
    order = lot.permutation(len(sizes[-1]))
    quotas = np.zeros(len(order), np.int64)
    quotas[order] = allocate(budget, sizes[-1][order], base[-1][order])
    for level in range(len(parents) - 1, -1, -1):
        finer = np.zeros(len(sizes[level]), np.int64)
        for cluster, quota in enumerate(quotas):
            members = lot.permutation(np.flatnonzero(parents[level] == cluster))
            finer[members] = allocate(int(quota), sizes[level][members], base[level][members])
        quotas = finer
    return quotas


def allocate(budget: int, sizes: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Share ``budget`` over clusters as equally as ``base <= share <= size`` allows; what is left
    over goes to the first ones.
    """
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
    curation.weight[rows[chosen]] = (
        (stands_for / stands_for.mean()).astype(np.float32) if len(stands_for) else 0
    )
