"""Pairs of images whose perceptual hashes are close, without comparing all pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BITS = 4
_BANDS = 4
_WIDTH = 64 // _BANDS


def hash_pairs(hashes: npt.NDArray[np.uint64], window: int) -> npt.NDArray[np.int64]:
    """Positions ``(m, 2)`` of 64-bit hashes ``(n,)`` that differ in at most four bits and agree in
    one quarter.

    Of equal quarters only ``window`` places up and down in sorted order are compared, so a thousand
    flat images do not make a million pairs.
    """
    pairs = [np.empty((0, 2), np.int64)]
    for band in range(_BANDS):
        turned = np.bitwise_or(
            hashes << np.uint64(band * _WIDTH), hashes >> np.uint64((64 - band * _WIDTH) % 64)
        )
        order = np.argsort(turned, kind="stable")
        quarter = turned[order] >> np.uint64(64 - _WIDTH)
        for step in range(1, min(window, len(order) - 1) + 1):
            near = quarter[step:] == quarter[:-step]
            near &= np.bitwise_count(hashes[order[step:]] ^ hashes[order[:-step]]) <= BITS
            pairs.append(np.stack([order[:-step][near], order[step:][near]], axis=1))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
