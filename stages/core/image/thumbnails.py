"""Small versions of images, by averaging areas. numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SIDE = 32


def thumbnails(images: npt.NDArray[np.uint8]) -> Array:
    """uint8 ``(n, C, S, S)`` to ``(n, C, s, s)`` in 0..1, s = min(S, 32)."""
    values: Array = images.astype(np.float32) / np.float32(255)
    return averaged(values, min(SIDE, images.shape[-1]))


def averaged(images: Array, side: int) -> Array:
    """``(n, C, S, S)`` to ``(n, C, side, side)``: every new pixel is the mean of the area it
    covers.
    """
    if images.shape[-1] == side:
        return images
    weights = _areas(images.shape[-1], side)
    scaled: Array = np.matmul(weights @ images, weights.T)
    return scaled


def _areas(side: int, smaller: int) -> Array:
    """Matrix ``(smaller, side)``: the share of each old pixel in each new one."""
    edges = np.linspace(0, side, smaller + 1)
    left, right = np.arange(side), np.arange(1, side + 1)
    overlap = np.minimum(right, edges[1:, None]) - np.maximum(left, edges[:-1, None])
    weights: Array = (np.maximum(overlap, 0) * smaller / side).astype(np.float32)
    return weights
