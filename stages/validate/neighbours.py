"""Exact nearest neighbours by brute force, a block at a time: for the few thousand images an audit
looks at.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]

BLOCK_BYTES = 64 << 20


def nearest(queries: Array, bank: Array, count: int, same: bool = False) -> tuple[Index, Array]:
    """The ``count`` rows of ``bank (m, D)`` nearest to each query ``(n, D)``, nearest first, and
    their distances.

    ``same``: the queries are the bank, and nobody is a neighbour of itself.
    """
    count = min(count, len(bank) - same)
    index, distance = (
        np.empty((len(queries), count), np.int64),
        np.empty((len(queries), count), np.float32),
    )
    squares = (bank**2).sum(axis=1)
    step = max(1, BLOCK_BYTES // (4 * max(len(bank), 1)))
    for first in range(0, len(queries), step):
        part = queries[first : first + step]
        found = squares - 2 * (part @ bank.T)
        if same:
            here = np.arange(len(part))
            found[here, first + here] = np.inf
        near = np.argpartition(found, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(found, near, axis=1)
        order = np.lexsort((near, values), axis=1)
        index[first : first + len(part)] = np.take_along_axis(near, order, axis=1)
        values = np.take_along_axis(values, order, axis=1) + (part**2).sum(axis=1)[:, None]
        distance[first : first + len(part)] = np.sqrt(np.maximum(values, 0))
    return index, distance
