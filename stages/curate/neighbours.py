"""Nearest neighbours in feature space, without comparing all pairs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stages.core.data.manifest import Rows
from stages.curate import kmeans
from stages.curate.features import Features

PER_LIST = 1000
POINTS_PER_LIST = 48
"""Lists need not be the best there are, and a million rows would have a quarter of them in memory.
"""
LISTS = 3


def neighbours(
    features: Features, rows: Rows, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` rows most like each row by correlation of their features: int32 ``(n, count)``
    and correlations, -1 = none.

    Rows are put into the three nearest of about ``n / 1000`` lists, and compared within lists; up
    to 1,000 rows that is exact.
    """

    def unit(chosen: Rows) -> Tensor:
        values = features(chosen)
        values = values - values.mean(1, keepdim=True)
        scaled: Tensor = values / (values.norm(dim=1, keepdim=True) + 1e-6)
        return scaled

    centroids = kmeans.fit(unit, rows, max(1, len(rows) // PER_LIST), seed, POINTS_PER_LIST)
    lists = np.empty((len(rows), min(LISTS, len(centroids))), np.int32)
    for first in range(0, len(rows), kmeans.BLOCK):
        here = slice(first, first + kmeans.BLOCK)
        lists[here] = kmeans.nearest_lists(unit(rows[here]), centroids, LISTS).numpy()
    best = np.full((len(rows), count), -1, np.float32)
    found = np.full((len(rows), count), -1, np.int32)
    for number in range(len(centroids)):
        members = np.flatnonzero((lists == number).any(axis=1))
        _merge(unit(rows[members]), members, best, found)
    for first in range(0, len(rows), kmeans.BLOCK):
        part = found[first : first + kmeans.BLOCK]
        part[:] = np.where(part >= 0, rows[part], -1)
    return found, best


def _merge(values: Tensor, members: np.ndarray, best: np.ndarray, found: np.ndarray) -> None:
    """Update the best neighbours of the members of one list with each other."""
    count = min(best.shape[1], len(members) - 1)
    if count < 1:
        return
    for first in range(0, len(members), 2048):
        part = values[first : first + 2048] @ values.T
        here = torch.arange(len(part))
        part[here, here + first] = -2
        top = torch.topk(part, count)
        mine = members[first : first + 2048]
        scores = np.concatenate([best[mine], top.values.numpy()], axis=1)
        places = np.concatenate([found[mine], members[top.indices.numpy()]], axis=1)
        repeated = (places[:, :, None] == places[:, None, : best.shape[1]]).any(axis=2)
        repeated[:, : best.shape[1]] = False
        scores[repeated] = -2
        order = np.argsort(-scores, axis=1, kind="stable")[:, : best.shape[1]]
        best[mine] = np.take_along_axis(scores, order, axis=1)
        found[mine] = np.where(best[mine] > -1, np.take_along_axis(places, order, axis=1), -1)
