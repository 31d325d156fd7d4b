"""Are two images the same picture? Their fine structure is compared over small crops, so brightness, compression, rescaling
and a crop of 5 % do not matter. numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.core.manifest import Rows
from stages.validate.audit import Pool

Array = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int64]

BLOCK = 256
CROP = 0.95
WORTH_CROPPING = 0.35
"""A 5 % crop of an image leaves at least this much agreement: below it no crop is tried."""
HASH_BITS = 4
SURE = 20
_BANDS = 4
_WINDOW = 8


def hash_pairs(hashes: npt.NDArray[np.uint64]) -> Pairs:
    """Positions ``(m, 2)`` of hashes that differ in at most four bits and agree in a quarter of them.

    Of equal quarters only places close in sorted order are compared, so a thousand flat images do not make a million pairs.
    """
    pairs = [np.empty((0, 2), np.int64)]
    width = 64 // _BANDS
    for band in range(_BANDS):
        turned = (hashes << np.uint64(band * width)) | (hashes >> np.uint64((64 - band * width) % 64))
        order = np.argsort(turned, kind="stable")
        for step in range(1, min(_WINDOW, len(order) - 1) + 1):
            one, two = order[:-step], order[step:]
            close = turned[one] >> np.uint64(64 - width) == turned[two] >> np.uint64(64 - width)
            close &= np.bitwise_count(hashes[one] ^ hashes[two]) <= HASH_BITS
            pairs.append(np.stack([one[close], two[close]], axis=1))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def likeness(pool: Pool, first: Rows, second: Rows) -> Array:
    """Best agreement ``(n,)`` of each pair of rows over small crops of either: 1 for the same picture, about 0 for two."""
    out = np.empty(len(first), np.float32)
    for start in range(0, len(first), BLOCK):
        one, two = (pool.thumbnails(rows[start : start + BLOCK]) for rows in (first, second))
        agreement = (structure(one) * structure(two)).sum(axis=1)
        near = np.flatnonzero(agreement > WORTH_CROPPING)
        if len(near):
            agreement[near] = np.maximum(agreement[near], _over_crops(one[near], two[near]))
        out[start : start + BLOCK] = agreement
    return out


def structure(images: Array) -> Array:
    """Edges and texture ``(n, C s s)`` as unit vectors, brightness and contrast taken out."""
    smooth = _box(images, 1)
    fine = (smooth - _box(smooth, 2)).reshape(len(images), -1)
    fine = fine - fine.mean(axis=1, keepdims=True)
    unit: Array = fine / (np.linalg.norm(fine, axis=1, keepdims=True) + 1e-5)
    return unit


def chance_limit(distances: Array, images: int) -> float:
    """The distance that in one data set of twenty an image is nearer than to another by chance, from distances ``(n, k)``.

    In data of intrinsic dimension d a neighbour ``t`` times as near as the k-th occurs with probability about
    ``(k - 1) t ** d`` for each of the ``images``; d is the maximum-likelihood estimate ("Maximum Likelihood Estimation of
    Intrinsic Dimension", 2004), its median over images, so that the few images that do have copies do not count.
    """
    ordered = np.sort(np.maximum(distances, 1e-6), axis=1)
    far = ordered[:, -1]
    dimension = 1 / max(float(np.median(np.log(far[:, None] / ordered[:, :-1]).mean(axis=1))), 1e-6)
    return float(np.median(far) * (SURE * images * (ordered.shape[1] - 1)) ** (-1 / dimension))


def _over_crops(one: Array, two: Array) -> Array:
    best = np.full(len(one), -1, np.float32)
    crops = _crops(one.shape[-1])
    for plain, other in ((one, two), (two, one)):
        target = structure(plain)
        for down in crops:
            cut: Array = np.matmul(down, other)
            for right in crops:
                best = np.maximum(best, (structure(np.matmul(cut, right.T)) * target).sum(axis=1))
    return best


def _box(images: Array, radius: int) -> Array:
    """The mean over a square of ``2 radius + 1`` pixels, edges repeated."""
    padded = np.pad(images, ((0, 0), (0, 0), (radius, radius), (radius, radius)), mode="edge")
    side, width = images.shape[-1], 2 * radius + 1
    mean = np.zeros_like(images)
    for down in range(width):
        for right in range(width):
            mean += padded[:, :, down : down + side, right : right + side]
    return mean / np.float32(width * width)


def _crops(side: int) -> list[Array]:
    """Matrices ``(side, side)`` that stretch the first, middle and last 95 % of a line of pixels to all of it."""
    centres = (np.arange(side) + 0.5) * CROP - 0.5
    found = []
    for start in (0.0, 0.5, 1.0):
        where = np.clip(centres + start * (1 - CROP) * side, 0, side - 1)
        low = np.minimum(np.floor(where).astype(int), side - 2)
        share = (where - low).astype(np.float32)
        matrix = np.zeros((side, side), np.float32)
        matrix[np.arange(side), low] = 1 - share
        matrix[np.arange(side), low + 1] += share
        found.append(matrix)
    return found
