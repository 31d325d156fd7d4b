"""Whether a new encoder may answer queries against an index an old one filled, and what a new classifier unlearnt.

numpy only: promotion gates call this on stored embeddings and predictions, without loading a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.core.statistics import Interval, bootstrap_interval, paired_bootstrap, wilson_interval

Array = NDArray[np.float32]
Bools = NDArray[np.bool_]
CHUNK = 1024


def retrieved(queries: Array, gallery: Array, labels: NDArray[np.int64]) -> Bools:
    """For each image (n,): is the nearest *other* image of the gallery, by cosine, of its class?

    Row i of ``queries`` (n, D) and of ``gallery`` (n, D) are the same image seen by two encoders.

    Raises:
        ValueError: the two have different shapes, so one cannot be searched with the other.
    """
    if queries.shape != gallery.shape or len(queries) != len(labels):
        raise ValueError(f"embeddings {queries.shape} cannot be searched for in a gallery of {gallery.shape}")
    if len(labels) < 2:
        raise ValueError("retrieval needs two or more images")
    unit, index = _unit(queries), _unit(gallery)
    hits = np.empty(len(labels), dtype=bool)
    for start in range(0, len(labels), CHUNK):
        similarity = unit[start : start + CHUNK] @ index.T
        here = np.arange(start, start + len(similarity))
        similarity[np.arange(len(here)), here] = -np.inf
        hits[here] = labels[similarity.argmax(axis=1)] == labels[here]
    return hits


@dataclass(frozen=True)
class Compatibility:
    """Retrieval within and across encoders; ``gain`` is what new queries on the old gallery do better than old queries."""

    old: Interval
    across: Interval
    new: Interval
    gain: Interval


def compatibility(old: Array, new: Array, labels: NDArray[np.int64], resamples: int, seed: int) -> Compatibility:
    """Compare embeddings (n, D) of the same images by an old and a new encoder.

    The criterion of "Towards Backward-Compatible Representation Learning" (2020): a new encoder may serve without filling the
    index again when searching the old gallery with it is at least as good as searching with the old encoder.

    Raises:
        ValueError: embeddings of different width.
    """
    within, across, after = retrieved(old, old, labels), retrieved(new, old, labels), retrieved(new, new, labels)
    return Compatibility(
        old=bootstrap_interval(within, resamples, seed),
        across=bootstrap_interval(across, resamples, seed),
        new=bootstrap_interval(after, resamples, seed),
        gain=paired_bootstrap(across, within, resamples, seed),
    )


def retention(before: ArrayLike, after: ArrayLike) -> Interval:
    """Share of the images (n,) the old classifier got right that the new one still gets right."""
    old, new = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    return wilson_interval(int((old & new).sum()), int(old.sum()))


def negative_flips(before: ArrayLike, after: ArrayLike) -> Interval:
    """Share of all images (n,) that were right and are now wrong.

    "Positive-Congruent Training: Towards Regression-Free Model Updates" (2021).
    """
    old, new = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    return wilson_interval(int((old & ~new).sum()), len(old))


def worst_group(correct: ArrayLike, groups: ArrayLike) -> tuple[str, Interval]:
    """The group with the lowest accuracy and that accuracy; images (n,) without a group (None) are left out.

    Raises:
        ValueError: no image has a group.
    """
    right, names = np.asarray(correct, dtype=bool), np.asarray(groups, dtype=object)
    found = sorted({str(name) for name in names if name is not None})
    if not found:
        raise ValueError("no image has a group")
    shares = {}
    for name in found:
        inside = names == name
        shares[name] = wilson_interval(int(right[inside].sum()), int(inside.sum()))
    worst = min(found, key=lambda name: shares[name].value)
    return worst, shares[worst]


def _unit(features: Array) -> Array:
    scaled: Array = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return scaled
