"""k-means on a million points beside faiss-cpu, in turns."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from stages.core.random import numpy_generator
from stages.curate import kmeans

POINTS, WIDTH, CLUSTERS, TURNS = 1_000_000, 128, 1000, 2


def k_means(scratch: Path) -> None:
    """Fit (20 iterations on 256 points per cluster, as faiss does by default) and assign all points, ours and theirs in turns."""
    points = _points()
    rows = np.arange(POINTS)
    tensor = torch.from_numpy(points)
    ours, theirs, errors = [], [], {}
    for _ in range(TURNS):
        began = time.perf_counter()
        centroids = kmeans.fit(lambda some: tensor[torch.from_numpy(some)], rows, CLUSTERS, seed=0)
        fitted = time.perf_counter() - began
        kmeans.assign(lambda some: tensor[torch.from_numpy(some)], rows, centroids)
        ours.append(time.perf_counter() - began)
        errors["ours"] = _error(points, centroids.numpy())
        print(f"kmeans: ours {ours[-1]:.1f} s (fit {fitted:.1f} s), error {errors['ours']:.4f}", flush=True)
        try:
            import faiss
        except ImportError:
            print("kmeans: faiss-cpu is not installed (pip install 'rootstock[scale]'): no comparison")
            return
        faiss.omp_set_num_threads(torch.get_num_threads())
        began = time.perf_counter()
        theirs_fit = faiss.Kmeans(WIDTH, CLUSTERS, niter=kmeans.ITERATIONS, seed=1)
        theirs_fit.train(points)
        fitted = time.perf_counter() - began
        theirs_fit.index.search(points, 1)
        theirs.append(time.perf_counter() - began)
        errors["theirs"] = _error(points, theirs_fit.centroids)
        print(f"kmeans: faiss {theirs[-1]:.1f} s (fit {fitted:.1f} s), error {errors['theirs']:.4f}", flush=True)
    ratio = float(np.median(np.array(ours) / np.array(theirs)))
    print(
        f"kmeans: {POINTS:,} x {WIDTH}, k = {CLUSTERS}, {torch.get_num_threads()} threads: ours ÷ faiss {ratio:.2f}, "
        f"squared error ours ÷ faiss {errors['ours'] / errors['theirs']:.3f}"
    )


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
