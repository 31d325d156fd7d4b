"""Do images that follow each other resemble each other, as the frames of a video do?

Then they are no independent draws, and held-out figures from random splits of them are too good.
After "Detecting Dataset Drift and Non-IID Sampling via k-Nearest Neighbors" (2023).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.core.data.manifest import Rows
from stages.core.random import numpy_generator
from stages.core.sections import Positive, Rate, Share
from stages.validate.audit import Answer, AuditSettings, Pool, Severity
from stages.validate.neighbours import nearest

RUN = 50
"""Images that follow each other and are drawn together where not all are looked at."""
GRID = 64
RUNS = 8
"""Runs of images alike to the next that are shown."""


class Settings(AuditSettings):
    severity: Severity = "info"
    neighbours: Positive = 5
    permutations: Positive = 199
    alpha: Rate = 0.01
    threshold: Share = (
        0.02  # least effect that counts: 0 is chance, 1 is all neighbours next to each other
    )
    max_images: Positive = 5000


def audit(pool: Pool, settings: Settings) -> list[Answer]:
    """How much nearer in order nearest neighbours are than they would be in any other order.

    Order is looked at among the images of one source and label: that files lie in class folders is
    no finding.
    """
    rows, groups = _groups(pool, settings)
    expected = "images that follow each other are no more alike than others"
    if len(rows) < 4 * settings.neighbours:
        return [Answer(expected, True, "too few images to say")]
    features = np.hstack([pool.shapes(rows), pool.colours(rows)])
    features = features / (features.std(axis=0) + 1e-6)
    pairs = _neighbours(features, groups, settings.neighbours)
    place = _places(groups)
    size = np.bincount(groups)[groups]
    observed = effect(pairs, place, size)
    draw = numpy_generator(pool.seed, "order", len(rows))
    reached = 0
    for _ in range(settings.permutations):
        shuffled = np.lexsort((draw.random(len(rows)), groups))
        mixed = np.empty(len(rows), np.int64)
        mixed[shuffled] = (
            place  # rows come group by group, so places are handed out anew within each group
        )
        reached += effect(pairs, mixed, size) >= observed
    p_value = (1 + reached) / (1 + settings.permutations)
    found = (
        f"neighbours are nearer in order than chance by {observed:.3f} (p = {p_value:.3f};"
        f" {len(rows)} images looked at)"
    )
    if p_value > settings.alpha or observed < settings.threshold:
        return [Answer(expected, True, found)]
    return [Answer(expected, False, found, *_runs(pool, rows, pairs, place))]


def effect(
    pairs: npt.NDArray[np.int64], place: npt.NDArray[np.int64], size: npt.NDArray[np.int64]
) -> float:
    """Largest excess of the distribution of order distances between neighbours over that of any two
    images: 0 to 1.

    ``pairs (m, 2)`` are neighbours, ``place (n,)`` each image's place in its group, ``size (n,)``
    the group's size. A short distance in a large group and a long one in any group are both looked
    for, so the distances are put on a logarithmic scale.
    """
    one, two = pairs[:, 0], pairs[:, 1]
    gap = np.abs(place[one] - place[two])
    count = size[one].astype(np.float64)
    chance = (
        gap * (2 * count - gap - 1) / (count * (count - 1))
    )  # share of all pairs of the group that are as near or nearer
    grid = np.geomspace(1e-3, 0.9, GRID)
    near = np.searchsorted(np.sort(chance), grid, side="right") / len(chance)
    return float(np.max(near - grid))


def _runs(
    pool: Pool, rows: Rows, pairs: npt.NDArray[np.int64], place: npt.NDArray[np.int64]
) -> tuple[Rows, tuple[str, ...]]:
    """Runs of images of which each has the next in order among its nearest neighbours, the longest
    first.
    """
    next_to = np.zeros(len(rows), bool)
    next_to[pairs[place[pairs[:, 1]] - place[pairs[:, 0]] == 1, 0]] = True
    begins = np.flatnonzero(next_to & ~np.r_[False, next_to[:-1]])
    lengths = np.flatnonzero(next_to & ~np.r_[next_to[1:], False]) + 1 - begins
    order = np.argsort(-lengths, kind="stable")[:RUNS]
    chosen = [
        one for run in order for one in range(int(begins[run]), int(begins[run] + lengths[run] + 1))
    ]
    like = [(one + 1, "next") if next_to[one] else (one - 1, "one before") for one in chosen]
    return rows[chosen], tuple(
        f"like the {which}, {pool.uri(int(rows[other]))}" for other, which in like
    )


def _groups(pool: Pool, settings: Settings) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Rows to look at, group by group in order, and the number of each one's group."""
    frame = pool.manifest.frame.loc[pool.distinct, ["source", "label", "split"]]
    hidden = frame["split"].where(frame["label"].isna(), "")
    keys = frame["source"].fillna("") + "\0" + frame["label"].fillna("") + "\0" + hidden
    codes = keys.astype("category").cat.codes.to_numpy(np.int64)
    order = np.argsort(codes, kind="stable")
    rows, codes = pool.distinct[order], codes[order]
    if len(rows) > settings.max_images:
        runs = np.arange(len(rows)) // RUN
        kept = pool.draw(np.unique(runs), settings.max_images // RUN, "order")
        chosen = np.isin(runs, kept)
        rows, codes = rows[chosen], codes[chosen]
    large = np.bincount(codes)[codes] > 2 * settings.neighbours
    return rows[large], np.unique(codes[large], return_inverse=True)[1]


def _neighbours(
    features: npt.NDArray[np.float32], groups: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """Pairs of an image and a nearest neighbour within its group."""
    found = []
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        index, _ = nearest(features[mine], features[mine], count, same=True)
        found.append(np.stack([np.repeat(mine, index.shape[1]), mine[index.ravel()]], axis=1))
    return np.concatenate(found)


def _places(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The place of each row in its group, rows coming group by group."""
    starts = np.searchsorted(groups, np.arange(groups.max() + 1))
    place: npt.NDArray[np.int64] = np.arange(len(groups)) - starts[groups]
    return place
