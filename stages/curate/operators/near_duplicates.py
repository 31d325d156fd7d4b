"""Different files of the same picture: rescaled, recompressed, brightened, slightly cropped.

Less is More: Selective Reduction of CT Data for Self-Supervised Pre-Training (2024). Candidates
come from perceptual hashes and from colours at 8 x 8; each is then verified on pixels. Validation
and test images always stay: the training image goes.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.core.data.manifest import Rows
from stages.core.image.hash_pairs import hash_pairs
from stages.core.image.near_duplicates import chance_likeness, likeness
from stages.core.random import numpy_generator
from stages.core.sections import Section
from stages.curate.curation import Curation
from stages.curate.neighbours import neighbours

WORTH_COMPARING = 0.88
"""Correlation of features below which two images are not the same picture."""
NEIGHBOURS, SAMPLE = 10, 200
WINDOW = 4
"""Places in sorted order that are looked at for close hashes: pairs for a million rows fit into
memory.
"""


class Settings(Section):
    """``similarity`` of structure (0..1) from which two images are one; raised where the data are
    alike by nature.
    """

    similarity: Annotated[float, Field(gt=0, le=1)] = 0.9


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Drop every image that shows the same picture as one that stays."""
    rows = curation.kept()
    if len(rows) < 3:
        return {"dropped": 0, "similarity": settings.similarity}
    near, correlation = neighbours(
        curation.colours, rows, min(NEIGHBOURS, len(rows) - 1), curation.seed
    )
    limit = max(settings.similarity, chance_limit(curation, near, rows))
    hashes = np.array(
        [int(text, 16) for text in curation.manifest.frame["phash"].iloc[rows]], np.uint64
    )
    pairs = distinct_pairs(
        rows, near, correlation > WORTH_COMPARING, rows[hash_pairs(hashes, WINDOW)]
    )
    pairs = pairs[curation.training[pairs].any(axis=1)]  # both held out: neither may go
    same = likeness(curation.store, pairs[:, 0], pairs[:, 1]) >= limit
    lost, kept, alike = thin(curation, pairs[same], limit)
    names = curation.uris(kept)
    curation.drop(
        lost,
        [
            f"near_duplicates: {score:.3f} like {name}"
            for score, name in zip(alike, names, strict=True)
        ],
    )
    return {"dropped": len(lost), "candidates": len(pairs), "similarity": limit}


def chance_limit(curation: Curation, near: np.ndarray, rows: Rows) -> float:
    """The likeness no pair of the ``rows (n,)`` should reach by chance, from a sample of them and
    their neighbours ``(n, k)``.

    Rows with fewer (-1) are left out, and where all have fewer the answer is 0.
    """
    whole = np.flatnonzero((near >= 0).all(axis=1))
    if not len(whole):
        return 0.0
    chosen = np.sort(numpy_generator(curation.seed, "chance").permutation(whole)[:SAMPLE])
    return chance_likeness(curation.store, rows[chosen], near[chosen].astype(np.int64), len(rows))


def distinct_pairs(
    rows: Rows, near: np.ndarray, wanted: np.ndarray, more: np.ndarray
) -> np.ndarray:
    """Pairs ``(m, 2)``, lower row first, each once: rows and those of their ``near`` ``(n, k)``
    that are wanted, and some more.

    A pair is one number while they are collected, and one column is looked at after the other:
    memory for a million rows.
    """
    width = np.int64(rows.max(initial=0)) + 1
    keys = (
        np.unique(more.min(axis=1) * width + more.max(axis=1))
        if len(more)
        else np.empty(0, np.int64)
    )
    for column in range(near.shape[1]):
        here = np.flatnonzero(wanted[:, column])
        one, two = rows[here], near[here, column].astype(np.int64)
        keys = np.union1d(keys, np.minimum(one, two) * width + np.maximum(one, two))
    return np.stack([keys // width, keys % width], axis=1)


def thin(curation: Curation, pairs: np.ndarray, limit: float) -> tuple[Rows, Rows, np.ndarray]:
    """From groups of linked rows keep the fewest such that every other one resembles a kept one:
    lost, kept, similarity.

    Within a group the held-out images are kept first, then labelled ones, then the first row.
    """
    members, positions = np.unique(pairs, return_inverse=True)
    positions = positions.reshape(-1, 2)
    links = coo_array(
        (np.ones(len(pairs)), (positions[:, 0], positions[:, 1])), (len(members),) * 2
    )
    _, group = connected_components(links, directed=False)
    order = np.lexsort((members, ~curation.labelled[members], curation.training[members], group))
    lost, kept, alike = [], [], []
    for block in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        stay = members[block[:1]]
        for row in members[block[1:]]:
            scores = likeness(curation.store, np.full(len(stay), row), stay)
            best = int(scores.argmax())
            if scores[best] >= limit and curation.training[row]:
                lost.append(row)
                kept.append(stay[best])
                alike.append(float(scores[best]))
            else:
                stay = np.append(stay, row)
    by_row = np.argsort(np.array(lost, np.int64), kind="stable")
    return (
        np.array(lost, np.int64)[by_row],
        np.array(kept, np.int64)[by_row],
        np.array(alike)[by_row],
    )
