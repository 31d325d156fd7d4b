"""Retrieval: accuracy of one encoder's queries in the index that another encoder made.

numpy only: promotion gates call this on stored embeddings, without loading a model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
        raise ValueError(
            f"embeddings {queries.shape} cannot be searched for in a gallery of {gallery.shape}"
        )
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


def _unit(features: Array) -> Array:
    scaled: Array = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return scaled
