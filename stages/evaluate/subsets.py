"""Which labels a budget of k per class buys: seeded draws, the smaller budgets inside the larger
ones.
"""

from __future__ import annotations

import numpy as np

from stages.core.metrics.representation import Labels
from stages.core.random import numpy_generator


def draw_labels(labels: Labels, per_class: int, draw: int, seed: int) -> Labels:
    """Positions (m,), ascending, of ``per_class`` images of each class among ``labels`` (n,); all
    of a class that has fewer.

    Draw ``d`` of a larger budget holds draw ``d`` of a smaller one, so a step of the ladder adds
    labels and swaps none.
    """
    picked = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = numpy_generator(seed, "labels", draw, int(label)).permutation(len(members))
        picked.append(members[order[:per_class]])
    return np.sort(np.concatenate(picked)).astype(np.int64)


def spread(rows: Labels, labels: Labels, limit: int, seed: int) -> Labels:
    """At most ``limit`` of ``rows``, the same share of each class and in order: what caps the cost
    on large data.
    """
    if len(rows) <= limit:
        return rows
    order = numpy_generator(seed, "limit", len(rows)).permutation(len(rows))
    rank = np.empty(len(rows))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    return rows[np.sort(np.argsort(rank, kind="stable")[:limit])]
