"""Which split every image belongs to, which label stays visible, and why: a pure function of
contents, labels and seed.

The draw is made per distinct image, so copies always share a split, and from the image's own
content, so adding images to a source moves hardly any other image.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.core.random import addresses

PROTECTION = {"none": 0, "train": 1, "val": 2, "test": 3}
"""Where copies of one image are given in several splits, the most protected one wins."""
NAMES = np.array(list(PROTECTION), object)
TRAIN, VAL, TEST = (PROTECTION[name] for name in ("train", "val", "test"))

Ranks = npt.NDArray[np.int8]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def assign_splits(
    images: pd.DataFrame, validation: float, test: float, labelled: float, seed: int
) -> pd.DataFrame:
    """Columns ``split``, ``role``, ``label`` and ``reason`` for the given ``id``, ``uri``,
    ``source``, ``label`` and ``given``.

    Args:
        images: one row per image in manifest order; ``id`` is null for a quarantined image,
        ``given`` the split its source gives. validation, test: share of each class to hold out
        where a source does not give that split. labelled: share of each class's training images
        that keep the label; the rest becomes the unlabelled pool.
    """
    pool = _Pool(images, seed)
    rank = pool.most_protected()
    pool.draw(rank, validation, test)
    pool.hide_labels(rank, labelled)
    split = pd.Series(NAMES[rank], images.index)
    label = images["label"].where(~pool.readable | (rank > 0))
    unlabelled = label.isna() | ((rank == 0) & pool.readable)
    out = pd.DataFrame(
        {"split": split, "role": np.where(unlabelled, "pool", "target"), "label": label},
        images.index,
    )
    out["reason"] = pool.moved(images, rank)
    return out


def quota(count: int, share: float) -> int:
    """How many of ``count`` a share is: rounded, but at least one of three or more."""
    return max(int(count * share + 0.5), int(share > 0 and count >= 3))


class _Pool:
    """What the draws look at, as arrays over the rows; ranks are those of :data:`PROTECTION`."""

    def __init__(self, images: pd.DataFrame, seed: int) -> None:
        self.seed = seed
        self.image, self.ids = pd.factorize(
            images["id"]
        )  # copies of one image share a number, -1: quarantined
        self.source, _ = pd.factorize(images["source"])
        self.label, _ = pd.factorize(images["label"])  # -1: unlabelled
        self.readable: Mask = self.image >= 0
        given = images["given"].map(PROTECTION).fillna(0).to_numpy(np.int8)
        self.given: Ranks = np.where((given == TRAIN) & (self.label < 0), 0, given).astype(np.int8)

    def most_protected(self) -> Ranks:
        """The split that is given to any copy of a row's image."""
        best = np.zeros(len(self.ids) + 1, np.int8)  # the last is that of quarantined rows
        np.maximum.at(best, self.image, self.given)
        best[-1] = 0
        return best[self.image]

    def draw(self, rank: Ranks, validation: float, test: float) -> None:
        """Give every labelled image that is in no held-out split one, the same for all its copies;
        changes ``rank``.
        """
        drawn = np.full(len(self.ids) + 1, -1, np.int8)
        gives = {
            int(source): set(np.unique(self.given[self.source == source]).tolist())
            for source in np.unique(self.source)
        }
        for rows in self._classes(rank <= TRAIN, "split"):
            has = gives[int(self.source[rows[0]])]
            tests = 0 if TEST in has else min(quota(len(rows), test), len(rows) - 1)
            vals = 0 if VAL in has else min(quota(len(rows), validation), len(rows) - 1 - tests)
            drawn[self.image[rows]] = np.repeat(
                [TEST, VAL, TRAIN], [tests, vals, len(rows) - tests - vals]
            )
        new = drawn[self.image]
        rank[new >= 0] = new[new >= 0]

    def hide_labels(self, rank: Ranks, labelled: float) -> None:
        """Take the rest of each class's training images, with all their copies, out of the splits;
        changes ``rank``.
        """
        hidden = np.zeros(len(self.ids) + 1, bool)
        for rows in self._classes(rank == TRAIN, "labelled"):
            hidden[self.image[rows[max(int(len(rows) * labelled + 0.5), int(labelled > 0)) :]]] = (
                True
            )
        rank[hidden[self.image]] = 0

    def moved(self, images: pd.DataFrame, rank: Ranks) -> pd.Series:
        """Why a row is held out although its own place says otherwise: it is a copy of an image
        that is.
        """
        held_out = self.readable & (rank >= VAL)
        agrees, own = self.given == rank, (self.label >= 0) & (self.given == 0)
        owner = np.full(len(self.ids) + 1, -1, np.int64)
        for decides in (
            held_out & own,
            held_out & agrees,
        ):  # who agrees counts more, and the first of several
            rows = np.flatnonzero(decides)[::-1]
            owner[self.image[rows]] = rows
        reason = np.full(len(images), None, object)
        uris = images["uri"].to_numpy(object)
        for row in np.flatnonzero(held_out & ~agrees & ~own & (owner[self.image] >= 0)).tolist():
            reason[row] = f"in {NAMES[rank[row]]} as a copy of {uris[owner[self.image[row]]]}"
        return pd.Series(reason, images.index)

    def _classes(self, among: Mask, what: str) -> Iterator[Rows]:
        """The labelled of some rows, one per distinct image: class by class of each source, each in
        an order that is drawn.
        """
        rows = np.flatnonzero(among & self.readable & (self.label >= 0))
        rows = rows[np.sort(np.unique(self.image[rows], return_index=True)[1])]
        drawn = addresses(self.seed, what, names=self.ids[self.image[rows]])
        rows = rows[np.lexsort((drawn, self.label[rows], self.source[rows]))]
        same = (np.diff(self.label[rows]) == 0) & (np.diff(self.source[rows]) == 0)
        yield from np.split(rows, np.flatnonzero(~same) + 1) if len(rows) else ()
