"""What audits compare images by: two descriptions that need no training, so they mean the same for every data version.

``shapes`` follows "Histograms of Oriented Gradients for Human Detection" (2005); ``colours`` is the picture at 4 x 4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SIDE = 32
GRID = 4
DIRECTIONS = 8


def thumbnails(images: npt.NDArray[np.uint8]) -> Array:
    """uint8 ``(n, C, S, S)`` to ``(n, C, s, s)`` in 0..1, s = min(S, 32), by averaging areas."""
    values: Array = images.astype(np.float32) / np.float32(255)
    return averaged(values, min(SIDE, images.shape[-1]))


def averaged(images: Array, side: int) -> Array:
    """``(n, C, S, S)`` to ``(n, C, side, side)``: every new pixel is the mean of the area it covers."""
    if images.shape[-1] == side:
        return images
    weights = _areas(images.shape[-1], side)
    scaled: Array = np.matmul(weights @ images, weights.T)
    return scaled


def shapes(images: Array) -> Array:
    """Where edges run in which direction: ``(n, C, s, s)`` to ``(n, 128)``, rows of unit length, blind to brightness."""
    light = images.mean(axis=1)
    count, side = len(light), light.shape[-1]
    down, right = np.zeros_like(light), np.zeros_like(light)
    down[:, 1:-1], right[:, :, 1:-1] = light[:, 2:] - light[:, :-2], light[:, :, 2:] - light[:, :, :-2]
    strength = np.hypot(down, right)
    turn = np.arctan2(down, right) % np.pi * (DIRECTIONS / np.pi)
    lower = np.floor(turn).astype(np.int64)
    share = (turn - lower).astype(np.float32)
    cell = _cells(side)
    place = (np.arange(count)[:, None, None] * GRID**2 + cell[None]) * DIRECTIONS
    bins = count * GRID**2 * DIRECTIONS
    total = np.bincount((place + lower % DIRECTIONS).ravel(), (strength * (1 - share)).ravel(), bins)
    total += np.bincount((place + (lower + 1) % DIRECTIONS).ravel(), (strength * share).ravel(), bins)
    histogram = total.reshape(count, -1)
    described: Array = np.sqrt(histogram / (histogram.sum(axis=1, keepdims=True) + 1e-3)).astype(np.float32)
    return described


def colours(images: Array) -> Array:
    """Average colours of a 4 x 4 grid: ``(n, C, s, s)`` to ``(n, 16 C)`` in 0..1."""
    return averaged(images, GRID).reshape(len(images), -1)


def _cells(side: int) -> npt.NDArray[np.int64]:
    """Which of the 16 cells every pixel of an image is in: ``(side, side)``."""
    line = np.arange(side) * GRID // side
    return line[:, None] * GRID + line[None, :]


def _areas(side: int, smaller: int) -> Array:
    """Matrix ``(smaller, side)``: the share of each old pixel in each new one."""
    edges = np.linspace(0, side, smaller + 1)
    left, right = np.arange(side), np.arange(1, side + 1)
    overlap = np.minimum(right, edges[1:, None]) - np.maximum(left, edges[:-1, None])
    weights: Array = (np.maximum(overlap, 0) * smaller / side).astype(np.float32)
    return weights
