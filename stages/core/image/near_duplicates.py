"""Are two images the same picture? Their fine structure is compared over small crops of either, so
brightness, compression, rescaling and a crop of 5 % do not matter; and two must be more alike than
pictures of this kind are by chance. numpy only.

Every step is linear, so one matrix from either side does it: crop, stretch, smooth, and take the
smooth part away.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stages.core.data.manifest import Rows
from stages.core.image.pixel_store import PixelStore
from stages.core.image.thumbnails import thumbnails

Array = npt.NDArray[np.float32]

CROP = 0.95
WORTH_CROPPING = 0.35
"""A 5 % crop leaves at least this much agreement (0.41 was the lowest of 500 random ones): below it
no crop is tried.
"""
_STARTS = (0.0, 0.5, 1.0)
_BLOCK = 64
_RELEASED = 4
"""Blocks after which the pixels that were read are given back: their rows lie anywhere in the
store.
"""
_FLAT = 1e-5
"""Length of the structure of an image without any, in values of 0..1."""


def likeness(store: PixelStore, first: Rows, second: Rows) -> Array:
    """Best agreement ``(n,)`` of each pair of rows over small crops of either: 1 for the same
    picture, about 0 for two.
    """
    out = np.empty(len(first), np.float32)
    for start in range(0, len(first), _BLOCK):
        here = slice(start, start + _BLOCK)
        out[here] = agreement(*(thumbnails(store.array(rows[here])) for rows in (first, second)))
        if start // _BLOCK % _RELEASED == _RELEASED - 1:
            store.release()
    return out


def agreement(one: Array, two: Array) -> Array:
    """The same for images ``(n, C, s, s)``."""
    mine, other = structure(one), structure(two)
    found: Array = np.einsum("nk,nk->n", mine, other)
    near = np.flatnonzero(found > WORTH_CROPPING)
    if len(near):
        crops = np.maximum(_over_crops(two[near], mine[near]), _over_crops(one[near], other[near]))
        found[near] = np.maximum(found[near], crops)
    return found


def structure(images: Array) -> Array:
    """Edges and texture ``(n, C s s)`` as unit vectors, brightness and contrast taken out."""
    smooth, smoother = _box(images.shape[-1], 1), _box(images.shape[-1], 2)
    fine = smooth @ images @ smooth.T
    fine = (fine - smoother @ fine @ smoother.T).reshape(len(images), -1)
    fine -= fine.mean(axis=1, keepdims=True)
    unit: Array = fine / (np.linalg.norm(fine, axis=1, keepdims=True) + np.float32(_FLAT))
    return unit


def chance_likeness(
    store: PixelStore, rows: Rows, neighbours: Rows, images: int, sure: int = 1
) -> float:
    """The likeness that not one in ``sure`` data sets of so many ``images`` should reach by chance.

    In data of intrinsic dimension d a neighbour ``t`` times as near as the typical k-th occurs with
    probability about ``(k - 1) t ** d`` for each image. Dimension ("Maximum Likelihood Estimation
    of Intrinsic Dimension", 2004) and typical distance are medians over ``rows (n,)`` with k
    ``neighbours (n, k)`` each, so that the few with copies do not count.
    """
    alike = likeness(store, np.repeat(rows, neighbours.shape[1]), neighbours.ravel()).reshape(
        neighbours.shape
    )
    distance = np.sort(np.sqrt(np.maximum(2 - 2 * alike.astype(np.float64), 1e-12)), axis=1)
    far = distance[:, -1]
    dimension = 1 / max(
        float(np.median(np.log(far[:, None] / distance[:, :-1]).mean(axis=1))), 1e-6
    )
    nearest = float(
        np.median(far) * (sure * images * (neighbours.shape[1] - 1)) ** (-1 / dimension)
    )
    return 1 - nearest**2 / 2


def _over_crops(images: Array, target: Array) -> Array:
    """The best agreement of crops of ``images (n, C, s, s)`` with structures ``(n, C s s)``."""
    count, channels, side, _ = images.shape
    down, right = _crops(side)
    turned = (images.reshape(-1, side) @ right).reshape(
        count, channels, side, len(_STARTS), 2, side
    )
    stacked = turned.transpose(0, 1, 3, 4, 2, 5).reshape(
        count, channels, len(_STARTS), 2 * side, side
    )
    fine = np.matmul(down, stacked).reshape(count, channels, len(_STARTS) ** 2, side * side)
    dot = np.matmul(fine, target.reshape(count, channels, side * side, 1))[..., 0].sum(
        axis=1
    )  # the target's mean is 0
    mean = fine.sum(axis=3).sum(axis=1) / (channels * side * side)
    squares = np.einsum("nckp,nckp->nk", fine, fine) - channels * side * side * mean**2
    best: Array = (dot / (np.sqrt(np.maximum(squares, 0)) + np.float32(_FLAT))).max(axis=1)
    return best


@lru_cache(maxsize=4)
def _crops(side: int) -> tuple[Array, Array]:
    """What is multiplied with an image from the left ``(3 side, 2 side)`` and from the right
    ``(side, 6 side)``.

    From the right every crop twice, smoothed and smoothed twice as one after the other; from the
    left their difference.
    """
    smooth, smoother = _box(side, 1), _box(side, 2)
    stretched = [smooth @ crop for crop in _stretches(side)]
    left = np.concatenate([np.hstack([one, -(smoother @ one)]) for one in stretched])
    right = np.hstack([part.T for one in stretched for part in (one, smoother @ one)])
    return left, right


def _stretches(side: int) -> list[Array]:
    """Matrices ``(side, side)`` that stretch the first, middle and last 95 % of a line of pixels to
    all of it.
    """
    centres = (np.arange(side) + 0.5) * CROP - 0.5
    found = []
    for start in _STARTS:
        where = np.clip(centres + start * (1 - CROP) * side, 0, side - 1)
        low = np.minimum(np.floor(where).astype(int), side - 2)
        share = (where - low).astype(np.float32)
        matrix = np.zeros((side, side), np.float32)
        matrix[np.arange(side), low] = 1 - share
        matrix[np.arange(side), low + 1] += share
        found.append(matrix)
    return found


@lru_cache(maxsize=8)
def _box(side: int, radius: int) -> Array:
    """Matrix ``(side, side)``: the mean over ``2 radius + 1`` neighbours in a line, the ends
    repeated.
    """
    matrix = np.zeros((side, side), np.float32)
    for step in range(-radius, radius + 1):
        matrix[np.arange(side), np.clip(np.arange(side) + step, 0, side - 1)] += np.float32(
            1 / (2 * radius + 1)
        )
    return matrix
