"""Features of an encoder and what they tell without training anything: weighted kNN and the rank of
the representation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.core.errors import DataError, StageFailed
from stages.core.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

BATCH = 1024
"""Images encoded at once; small enough for a laptop at 224 px, large enough to keep a GPU busy."""
SCORES = 1 << 24
"""Similarities held at once by kNN (64 MiB)."""


class Encodes(Protocol):
    """Anything that turns stored images into features."""

    def encode(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 → (N, D) float32."""


class Gathers(Protocol):
    """Anything that hands out stored images by row."""

    def gather(self, rows: NDArray[np.int64]) -> Tensor:
        """(n,) row numbers → (n, C, H, W) uint8."""


def embed(
    encoder: Encodes, store: Gathers, rows: NDArray[np.int64], description: str = "features"
) -> Array:
    """Clean features of the given rows, in their order: (n, D) float32.

    Raises:
        DataError: no rows.
        StageFailed: the encoder's answers are no numbers.
    """
    if not len(rows):
        raise DataError(f"{description}: there are no images to encode")
    parts = []
    with Progress(description, total=len(rows), unit="images") as bar:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            parts.append(encoder.encode(store.gather(batch)).float().cpu().numpy())
            bar.advance(len(batch))
    found = np.concatenate(parts)
    if not np.isfinite(found).all():
        raise StageFailed(
            f"{description}: the encoder gives no numbers: its training diverged; lower its"
            " learning rate"
        )
    return found


def pixel_features(store: Gathers, rows: NDArray[np.int64]) -> Array:
    """The control that learns nothing: raw pixels in [0, 1], flattened to (n, C·H·W)."""
    return (store.gather(rows).flatten(1).float() / 255.0).numpy()


def normalise(features: Array) -> Array:
    """Rows of (n, D) at unit length; a zero row stays zero."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: Array = features / np.maximum(lengths, 1e-12)
    return scaled


def knn_scores(
    bank: Array, labels: Labels, queries: Array, k: int, classes: int, temperature: float = 0.07
) -> Array:
    """Class votes (Q, classes) of the k most similar of the bank, each weighted by exp(cosine
    similarity / temperature).

    The estimator of "Unsupervised Feature Learning via Non-Parametric Instance Discrimination"
    (2018). Rows add up to one. ``bank`` (N, D) and ``queries`` (Q, D) need no normalisation; ``k``
    is cut to N.

    Raises:
        DataError: when the bank is empty, or it and its labels disagree.
    """
    if not len(bank) or len(bank) != len(labels) or labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"kNN needs one label in 0..{classes - 1} for each of its {len(bank)} images, got"
            f" {len(labels)}"
        )
    bank, queries = normalise(bank), normalise(queries)
    k = min(k, len(bank))
    votes = np.zeros((len(queries), classes), dtype=np.float32)
    step = max(1, SCORES // len(bank))
    for start in range(0, len(queries), step):
        similarity = queries[start : start + step] @ bank.T
        nearest = np.argpartition(similarity, len(bank) - k, axis=1)[:, len(bank) - k :]
        top = np.take_along_axis(similarity, nearest, axis=1)
        weight = np.exp((top - top.max(axis=1, keepdims=True)) / temperature)
        rows = np.repeat(np.arange(start, start + len(similarity)), k)
        np.add.at(
            votes,
            (rows, labels[nearest].ravel()),
            (weight / weight.sum(axis=1, keepdims=True)).ravel(),
        )
    return votes


def knn_predict(
    bank: Array, labels: Labels, queries: Array, k: int, temperature: float = 0.07
) -> Labels:
    """The class with the most weighted votes, (Q,); see :func:`knn_scores`."""
    predicted: Labels = knn_scores(
        bank, labels, queries, k, int(labels.max(initial=0)) + 1, temperature
    ).argmax(axis=1)
    return predicted


def rankme(features: Array) -> float:
    """Effective rank of (N, D): exp of the entropy of the singular values, between 1 and min(N, D).

    "RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised Representations by
    Their Rank" (2023). Features that are all zero have rank 0, features that are no numbers have
    none (NaN). The singular values come from the smaller Gram matrix in double precision.
    """
    matrix = features.astype(np.float64)
    if not np.isfinite(matrix).all():
        return float("nan")
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0.0, None))
    if not singular.sum() > 0:
        return 0.0
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))
