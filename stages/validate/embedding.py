"""What audits compare images by: two descriptions that need no training, so they mean the same for
every data version.

``shapes`` follows "Histograms of Oriented Gradients for Human Detection" (2005); ``colours`` is the
picture at 4 x 4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.core.image.thumbnails import Array, averaged

GRID = 4
DIRECTIONS = 8


def shapes(images: Array) -> Array:
    """Where edges run in which direction: ``(n, C, s, s)`` to ``(n, 128)``, rows of unit length,
    blind to brightness.
    """
    light = images.mean(axis=1)
    count, side = len(light), light.shape[-1]
    down, right = np.zeros_like(light), np.zeros_like(light)
    down[:, 1:-1], right[:, :, 1:-1] = (
        light[:, 2:] - light[:, :-2],
        light[:, :, 2:] - light[:, :, :-2],
    )
    strength = np.hypot(down, right)
    turn = np.arctan2(down, right) % np.pi * (DIRECTIONS / np.pi)
    lower = np.floor(turn).astype(np.int64)
    share = (turn - lower).astype(np.float32)
    cell = _cells(side)
    place = (np.arange(count)[:, None, None] * GRID**2 + cell[None]) * DIRECTIONS
    bins = count * GRID**2 * DIRECTIONS
    total = np.bincount(
        (place + lower % DIRECTIONS).ravel(), (strength * (1 - share)).ravel(), bins
    )
    total += np.bincount(
        (place + (lower + 1) % DIRECTIONS).ravel(), (strength * share).ravel(), bins
    )
    histogram = total.reshape(count, -1)
    described: Array = np.sqrt(histogram / (histogram.sum(axis=1, keepdims=True) + 1e-3)).astype(
        np.float32
    )
    return described


def colours(images: Array) -> Array:
    """Average colours of a 4 x 4 grid: ``(n, C, s, s)`` to ``(n, 16 C)`` in 0..1."""
    return averaged(images, GRID).reshape(len(images), -1)


def _cells(side: int) -> npt.NDArray[np.int64]:
    """Which of the 16 cells every pixel of an image is in: ``(side, side)``."""
    line = np.arange(side) * GRID // side
    return line[:, None] * GRID + line[None, :]
