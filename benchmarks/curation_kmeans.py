"""k-means on a million points beside faiss-cpu, in turns."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from stages.core.random import numpy_generator
from stages.curate import kmeans

POINTS, WIDTH, CLUSTERS, TURNS = 1_000_000, 128, 1000, 2


def k_means(scratch: Path) -> None:
    """Fit (20 iterations on 256 points per cluster, as faiss does by default) and assign all
    points, ours and theirs in turns.

    Ratios are of processor seconds, which other work on the machine disturbs least.
    """
    points = _points()
    contenders = {"ours": _ours}
    if find_spec("faiss"):
        contenders["faiss"] = _faiss
    else:
        print("kmeans: faiss-cpu is not installed (pip install 'rootstock[scale]'): no comparison")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    errors = {}
    for _ in range(TURNS):
        for name, run in contenders.items():
            began, clock = time.process_time(), time.perf_counter()
            centroids = run(points)
            seconds[name].append(time.process_time() - began)
            wall = time.perf_counter() - clock
            errors[name] = _error(points, centroids)
            print(
                f"kmeans: {name}: {seconds[name][-1]:.1f} processor seconds, {wall:.1f} s, error"
                f" {errors[name]:.3f}",
                flush=True,
            )
    if len(contenders) == 2:
        ratio = float(np.median(np.array(seconds["ours"]) / np.array(seconds["faiss"])))
        print(
            f"kmeans: {POINTS:,} x {WIDTH}, k = {CLUSTERS}, {torch.get_num_threads()} threads: ours"
            f" ÷ faiss {ratio:.2f}, squared error ours ÷ faiss"
            f" {errors['ours'] / errors['faiss']:.3f}"
        )


def _ours(points: np.ndarray) -> np.ndarray:
    tensor, rows = torch.from_numpy(points), np.arange(len(points))
    centroids = kmeans.fit(lambda some: tensor[torch.from_numpy(some)], rows, CLUSTERS, seed=0)
    kmeans.assign(lambda some: tensor[torch.from_numpy(some)], rows, centroids)
    return centroids.numpy()


def _faiss(points: np.ndarray) -> np.ndarray:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    found = faiss.Kmeans(WIDTH, CLUSTERS, niter=kmeans.ITERATIONS, seed=1)
    found.train(points)
    found.index.search(points, 1)
    centroids: np.ndarray = found.centroids
    return centroids


def _points() -> np.ndarray:
    """Points around 2,000 centres of their own spread, as embeddings are."""
    lot = numpy_generator(0, "kmeans points")
    centres = lot.normal(size=(2000, WIDTH)).astype(np.float32)
    points = lot.standard_normal((POINTS, WIDTH), np.float32)
    points += centres[lot.integers(0, len(centres), POINTS)]
    return points


def _error(points: np.ndarray, centroids: np.ndarray) -> float:
    """Mean squared distance of a sample of the points from their nearest centroid."""
    sample = points[::100]
    distance = (sample**2).sum(1)[:, None] - 2 * sample @ centroids.T + (centroids**2).sum(1)
    return float(distance.min(1).mean())
