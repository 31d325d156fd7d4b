"""k-means in blocks: bounded memory at any number of rows, the same clusters for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from stages.core.data.manifest import Rows
from stages.core.random import numpy_generator

Fetch = Callable[[Rows], Tensor]
POINTS_PER_CLUSTER = 256
ITERATIONS = 20
SEEDS_PER_CLUSTER = 16
LEAST_SEEDS = 8192
BLOCK = 16384
IN_CACHE = 256
"""Rows whose distances from a thousand centroids stay in a processor's cache until they are looked
at.
"""
PORTION = 4096
"""Rows a thread takes at a time."""


def fit(
    fetch: Fetch, rows: Rows, clusters: int, seed: int, points_per_cluster: int = POINTS_PER_CLUSTER
) -> Tensor:
    """Centroids ``(k, D)`` by Lloyd's iterations on a sample of so many points per cluster, ``k <=
    len(rows)``.

    They start far apart, so that rare kinds of points get one: k-means++: The Advantages of Careful
    Seeding (2007).
    """
    draw = numpy_generator(seed, "kmeans", clusters, len(rows))
    clusters = min(clusters, len(rows))
    sample = rows[np.sort(draw.permutation(len(rows))[: clusters * points_per_cluster])]
    points = _gathered(fetch, sample)
    centroids = spread(
        points[torch.from_numpy(draw.permutation(len(points))[: seeds(clusters)])], clusters, draw
    )
    before: Tensor | None = None
    for _ in range(ITERATIONS):
        nearest, distance = _nearest(points, centroids)
        if before is not None and torch.equal(nearest, before):
            break
        before = nearest
        centroids = _means(points, nearest, distance, centroids)
    return centroids


def _gathered(fetch: Fetch, rows: Rows) -> Tensor:
    """What ``fetch`` gives for all rows; in blocks, as it may need several times the memory of its
    answer.
    """
    first = fetch(rows[:BLOCK])
    points = first.new_empty(len(rows), first.shape[1])
    points[:BLOCK] = first
    for start in range(BLOCK, len(rows), BLOCK):
        points[start : start + BLOCK] = fetch(rows[start : start + BLOCK])
    return points


def seeds(clusters: int) -> int:
    """How many points the first centroids are drawn from."""
    return max(LEAST_SEEDS, SEEDS_PER_CLUSTER * clusters)


def spread(points: Tensor, clusters: int, draw: np.random.Generator) -> Tensor:
    """``clusters`` of the points ``(n, D)``, each drawn with odds in proportion to its squared
    distance from those before.
    """
    chosen = [int(draw.integers(len(points)))]
    lengths = points.square().sum(1)
    distance = torch.full((len(points),), torch.inf)
    for _ in range(clusters - 1):
        last = chosen[-1]
        away = lengths + lengths[last] - 2 * (points @ points[last])
        distance = torch.minimum(distance, away.clamp_(min=0))
        distance[last] = 0
        total = distance.double().cumsum(0)
        if not total[-1] > 0:  # all that is left repeats a chosen point
            left = np.setdiff1d(np.arange(len(points)), chosen)
            chosen += left[: clusters - len(chosen)].tolist()
            break
        chosen.append(
            min(
                int(torch.searchsorted(total, draw.random() * total[-1], right=True)),
                len(points) - 1,
            )
        )
    return points[chosen].clone()


def assign(fetch: Fetch, rows: Rows, centroids: Tensor) -> np.ndarray:
    """The nearest centroid of each row: int32 ``(n,)``."""
    out = np.empty(len(rows), np.int32)
    for first in range(0, len(rows), BLOCK):
        nearest, _ = _nearest(fetch(rows[first : first + BLOCK]), centroids)
        out[first : first + BLOCK] = nearest.numpy()
    return out


def nearest_lists(points: Tensor, centroids: Tensor, count: int) -> Tensor:
    """The ``count`` nearest centroids of each point ``(n, count)``."""
    return torch.topk(
        _half_distance(points, centroids), min(count, len(centroids)), largest=False
    ).indices


def _half_distance(points: Tensor, centroids: Tensor) -> Tensor:
    """Half the squared distance, less what depends on the point alone: ``(n, k)``."""
    return torch.addmm(0.5 * centroids.square().sum(1), points, centroids.T, alpha=-1)


def _nearest(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centroid of each point, of several as near the first, and half its squared
    distance ``(n,)``, less what depends on the point alone.

    Threads take whole blocks, each with arithmetic of one thread: a product of a few hundred rows
    is too small to be shared (beside other work ten times slower), and so the answer is the same
    for any number of threads.
    """
    rows, columns = points.numpy(), centroids.numpy().T
    lengths = 0.5 * centroids.square().sum(1).numpy()
    nearest, distance = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)

    def look(first: int) -> None:
        last = min(first + PORTION, len(rows))
        table = np.empty((min(IN_CACHE, last - first), len(lengths)), np.float32)
        for start in range(first, last, IN_CACHE):
            part = slice(start, min(start + IN_CACHE, last))
            found = np.matmul(rows[part], columns, out=table[: part.stop - start])
            np.subtract(lengths, found, out=found)
            nearest[part] = found.argmin(1)  # several times as fast as torch's
            distance[part] = np.take_along_axis(found, nearest[part, None], 1)[:, 0]

    with ThreadPoolExecutor(torch.get_num_threads()) as threads, threadpool_limits(1):
        list(threads.map(look, range(0, len(rows), PORTION)))
    return torch.from_numpy(nearest), torch.from_numpy(distance)


def _means(points: Tensor, nearest: Tensor, distance: Tensor, centroids: Tensor) -> Tensor:
    """New centroids; one that lost all its points moves to the point farthest from its own."""
    counts = torch.bincount(nearest, minlength=len(centroids))
    sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
    empty = torch.nonzero(counts == 0).flatten()
    means = sums / counts.clamp(min=1)[:, None]
    if len(empty):
        means[empty] = points[
            torch.topk(distance + 0.5 * points.square().sum(1), len(empty)).indices
        ]
    return means
