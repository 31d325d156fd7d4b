"""Are two images the same picture? Their fine structure is compared after small crops, so that brightness, compression and
rescaling do not matter; and two pictures must be more alike than pictures of this kind are by chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.core.manifest import Rows
from stages.core.pixels import PixelStore
from stages.core.random import numpy_generator

SIDE = 32
BLOCK = 512
_CROP = 0.95
_STARTS = (0.0, 0.5, 1.0)
_WORTH_CROPPING = 0.35
"""A 5 % crop leaves at least this much agreement (0.41 was the lowest of 500 random ones): below it no crop is tried."""
NEIGHBOURS = 10
SAMPLE = 200


def thumbnails(store: PixelStore, rows: Rows) -> Tensor:
    """Images at most 32 pixels wide, float32 ``(n, C, S, S)``."""
    images = store.gather(rows).to(torch.float32)
    return F.adaptive_avg_pool2d(images, SIDE) if images.shape[-1] > SIDE else images


def structure(images: Tensor) -> Tensor:
    """Edges and texture with brightness and contrast taken out: unit vectors ``(n, C * S * S)``."""
    smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    fine = (smooth - F.avg_pool2d(F.pad(smooth, (2, 2, 2, 2), mode="replicate"), 5, 1)).flatten(1)
    fine = fine - fine.mean(1, keepdim=True)
    unit: Tensor = fine / (fine.norm(dim=1, keepdim=True) + 1e-3)
    return unit


def similarity(store: PixelStore, first: Rows, second: Rows) -> np.ndarray:
    """Best agreement of structure over small crops of either image, float32 ``(n,)``; 1 for the same picture."""
    out = np.empty(len(first), np.float32)
    with _one_thread():
        for start in range(0, len(first), BLOCK):
            one, two = (thumbnails(store, rows[start : start + BLOCK]) for rows in (first, second))
            agreement = (structure(one) * structure(two)).sum(1)
            near = torch.nonzero(agreement > _WORTH_CROPPING).flatten()
            agreement[near] = torch.maximum(agreement[near], _over_crops(one[near], two[near]))
            out[start : start + BLOCK] = agreement.numpy()
    return out


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small operations: threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _over_crops(one: Tensor, two: Tensor) -> Tensor:
    """The best agreement of either image with a crop of the other ``(n,)``."""
    best = torch.full((len(one),), -1.0)
    crops = _crops(one.shape[-1])
    for plain, other in ((one, two), (two, one)):
        target = structure(plain)
        for down in crops:
            cut = down @ other
            for right in crops:
                best = torch.maximum(best, (structure(cut @ right.T) * target).sum(1))
    return best


def chance_limit(store: PixelStore, neighbours: Rows, rows: Rows, seed: int) -> float:
    """The similarity that not even one pair of these images should reach by chance.

    In data of intrinsic dimension d, a nearest neighbour ``t`` times as near as the typical k-th one occurs with probability
    about ``(k - 1) t**d`` per image. Dimension and typical distance come from a sample of rows and their k nearest
    ``neighbours`` ``(n, k)``; rows with fewer (-1) are left out, and where all have fewer the answer is 0.
    """
    whole = np.flatnonzero((neighbours >= 0).all(axis=1))
    if not len(whole):
        return 0.0
    chosen = np.sort(numpy_generator(seed, "chance").permutation(whole)[:SAMPLE])
    neighbours = neighbours[chosen]
    pairs = similarity(store, np.repeat(rows[chosen], neighbours.shape[1]), neighbours.ravel())
    distance = np.sort(np.sqrt(np.maximum(2 - 2 * pairs.reshape(neighbours.shape), 1e-12)), axis=1)
    far = distance[:, -1]
    logs = np.log(far[:, None] / distance[:, :-1]).mean(axis=1)
    dimension = 1 / max(float(np.median(logs)), 1e-6)  # the median leaves out images that do have copies
    expected = 1 / (len(rows) * (neighbours.shape[1] - 1))
    nearest = float(np.median(far)) * expected ** (1 / dimension)
    return float(1 - nearest**2 / 2)


def _crops(side: int) -> Tensor:
    """Matrices ``(3, side, side)`` that stretch 95 % of a line of pixels to all of it: the first, the middle, the last 95 %."""
    centres = (torch.arange(side, dtype=torch.float32) + 0.5) * _CROP - 0.5
    out = torch.zeros(len(_STARTS), side, side)
    for number, start in enumerate(_STARTS):
        where = (centres + start * (1 - _CROP) * side).clamp(0, side - 1)
        low = where.floor().long().clamp(max=side - 2)
        share = where - low
        line = torch.arange(side)
        out[number, line, low] += 1 - share
        out[number, line, low + 1] += share
    return out
