"""The same picture in two splits, rescaled, recompressed, brightened or slightly cropped: held-out
figures then lie.
"""

from __future__ import annotations

import numpy as np

from stages.core.data.manifest import Rows
from stages.core.image.hash_pairs import hash_pairs
from stages.core.image.near_duplicates import chance_likeness, likeness
from stages.core.image.thumbnails import averaged
from stages.core.random import numpy_generator
from stages.core.sections import Positive, Share
from stages.validate.audit import Answer, AuditSettings, Pool, Severity, blocks
from stages.validate.neighbours import Array, Index, nearest

HELD_OUT = {"val": 1, "test": 2}
COARSE = 8
NEAREST = 3
ALIKE = 0.9
"""Correlation of the colours at 8 x 8 below which two pictures are not worth a closer look."""
SAMPLE = 200
NEIGHBOURS = 10
WINDOW = 8
"""Places in sorted order that are looked at for close hashes."""
SURE = 20
"""In one data set of so many two different images may pass for one."""


class Settings(AuditSettings):
    severity: Severity = "warning"
    similarity: Share = 0.94  # of fine structure; higher where the images are alike by nature
    # held-out images whose neighbours are looked up by colour; hashes are compared for all
    max_queries: Positive = 10000
    max_bank: Positive = 50000


def audit(pool: Pool, settings: Settings) -> list[Answer]:
    """No image of train, val, test or the unlabelled pool is a near-copy of one in another held-out
    split.

    Candidates are pairs with close perceptual hashes and neighbours by colour; each is verified on
    its pixels, against a limit that the data raise where their images are alike by nature, as 8 x 8
    digits are.
    """
    split = pool.manifest.frame["split"].map(HELD_OUT).fillna(0).to_numpy(np.int64)
    expected = "no image is nearly the same as one in another split"
    held = pool.distinct[split[pool.distinct] > 0]
    if not len(held):
        return [Answer(expected, True, "no image is held out")]
    pairs = np.concatenate([_by_hash(pool), _by_colour(pool, held, settings)])
    pairs = np.unique(np.sort(pairs[split[pairs[:, 0]] != split[pairs[:, 1]]], axis=1), axis=0)
    scores = likeness(pool.store, pairs[:, 0], pairs[:, 1])
    limit = (
        max(settings.similarity, _limit(pool))
        if (scores >= settings.similarity).any()
        else settings.similarity
    )
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= limit]
    pairs, scores = pairs[order], scores[order]
    rows, first = np.unique(pairs.ravel(), return_index=True)
    rows = pairs.ravel()[np.sort(first)]
    details = _details(pool, pairs, scores)
    found = f"{len(pairs)} pairs at {limit:.3f} or more"
    if len(held) > settings.max_queries:
        found += (
            f" ({settings.max_queries} of {len(held)} held-out images were compared by colour, all"
            " by hash)"
        )
    return [
        Answer(expected, not len(pairs), found, rows, tuple(details[row] for row in rows.tolist()))
    ]


def _by_hash(pool: Pool) -> Index:
    hashes = np.array(
        [int(text, 16) for text in pool.manifest.frame["phash"].iloc[pool.distinct]], np.uint64
    )
    pairs: Index = pool.distinct[hash_pairs(hashes, WINDOW)]
    return pairs


def _by_colour(pool: Pool, held: Rows, settings: Settings) -> Index:
    queries = pool.draw(held, settings.max_queries, "near queries")
    bank = pool.draw(pool.distinct, settings.max_bank, "near bank")
    bank = np.union1d(bank, queries)
    one, two = _coarse(pool, queries), _coarse(pool, bank)
    index, distance = nearest(one, two, NEAREST + 1)
    pairs = np.stack([np.repeat(queries, index.shape[1]), bank[index.ravel()]], axis=1)
    alike = 1 - distance.ravel() ** 2 / 2 >= ALIKE
    found: Index = pairs[alike & (pairs[:, 0] != pairs[:, 1])]
    return found


def _coarse(pool: Pool, rows: Rows) -> Array:
    """Colours at 8 x 8 as unit vectors around their mean."""
    parts = [
        averaged(pool.thumbnails(part), COARSE).reshape(len(part), -1) for part in blocks(rows)
    ]
    values = np.concatenate(parts)
    values = values - values.mean(axis=1, keepdims=True)
    unit: Array = values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-6)
    return unit


def _limit(pool: Pool) -> float:
    """The likeness that two different pictures of this kind do not reach by chance, seen on a
    sample of neighbours.
    """
    lot = numpy_generator(pool.seed, "audit", "near limit")
    bank = pool.draw(pool.distinct, 5000, "near limit bank")
    rows = np.sort(lot.permutation(bank)[:SAMPLE])
    if len(bank) <= NEIGHBOURS + 1:
        return 0.0
    index, _ = nearest(_coarse(pool, rows), _coarse(pool, bank), NEIGHBOURS + 1)
    others = np.array(
        [
            [near for near in bank[line] if near != row][:NEIGHBOURS]
            for row, line in zip(rows, index, strict=True)
        ]
    )
    return chance_likeness(pool.store, rows, others, len(pool.distinct), SURE)


def _details(pool: Pool, pairs: Index, scores: Array) -> dict[int, str]:
    split = pool.manifest.frame["split"]
    out: dict[int, str] = {}
    for (one, two), score in zip(pairs.tolist(), scores.tolist(), strict=True):
        for mine, other in ((one, two), (two, one)):
            out.setdefault(
                mine,
                f"in {split.iat[mine]}, like {pool.uri(other)} in {split.iat[other]} ({score:.3f})",
            )
    return out
