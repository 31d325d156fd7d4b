"""Which split every image belongs to, which label stays visible, and why: a pure function of contents, labels and seed.

The draw is made per distinct image, so copies always share a split, and from the image's own content, so adding images to a
source moves hardly any other image.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from stages.core.random import addresses

PROTECTION = {"none": 0, "train": 1, "val": 2, "test": 3}
"""Where copies of one image are given in several splits, the most protected one wins."""


def assign_splits(images: pd.DataFrame, validation: float, test: float, labelled: float, seed: int) -> pd.DataFrame:
    """Columns ``split``, ``role``, ``label`` and ``reason`` for the given ``id``, ``uri``, ``source``, ``label`` and ``given``.

    Args:
        images: one row per image in manifest order; ``id`` is null for a quarantined image, ``given`` the split its source gives.
        validation, test: share of each class to hold out where a source does not give that split.
        labelled: share of each class's training images that keep the label; the rest becomes the unlabelled pool.
    """
    given = images["given"].fillna("none")
    unlabelled_training = (given == "train") & images["label"].isna()
    given = given.mask(unlabelled_training, "none")
    split = _by_image(images, given, validation, test, seed)
    split = _hide_labels(images, split, labelled, seed)
    readable = images["id"].notna()
    split = split.where(readable, "none")
    label = images["label"].where(~readable | (split != "none"))
    pool = label.isna() | ((split == "none") & readable)
    out = pd.DataFrame({"split": split, "role": np.where(pool, "pool", "target"), "label": label}, images.index)
    out["reason"] = _moved(images, given, split)
    return out


def quota(count: int, share: float) -> int:
    """How many of ``count`` a share is: rounded, but at least one of three or more."""
    return max(int(count * share + 0.5), int(share > 0 and count >= 3))


def _by_image(images: pd.DataFrame, given: pd.Series, validation: float, test: float, seed: int) -> pd.Series:
    """The split of every row before labels are hidden, the same for all copies of an image."""
    rank = given.map(PROTECTION).groupby(images["id"], sort=False).transform("max")
    names = {value: name for name, value in PROTECTION.items()}
    split = rank.map(names)
    labelled = images["label"].notna() & images["id"].notna()
    first = images[labelled & rank.isin([0, 1])].drop_duplicates("id")
    drawn: dict[str, str] = {}
    gives = {source: set(splits.unique()) for source, splits in given.groupby(images["source"])}
    for (source, _), group in first.groupby(["source", "label"], sort=True):
        has = gives[source]
        order = _drawn(group["id"], seed, "split")
        tests = 0 if "test" in has else min(quota(len(order), test), len(order) - 1)
        vals = 0 if "val" in has else min(quota(len(order), validation), len(order) - 1 - tests)
        for position, name in enumerate(order):
            drawn[name] = "test" if position < tests else "val" if position < tests + vals else "train"
    return images["id"].map(drawn).fillna(split)


def _hide_labels(images: pd.DataFrame, split: pd.Series, labelled: float, seed: int) -> pd.Series:
    training = images[(split == "train") & images["label"].notna()].drop_duplicates("id")
    hidden: set[str] = set()
    for _, group in training.groupby(["source", "label"], sort=True):
        order = _drawn(group["id"], seed, "labelled")
        hidden.update(order[max(int(len(order) * labelled + 0.5), int(labelled > 0)) :])
    return split.mask(images["id"].isin(hidden), "none")


def _drawn(ids: pd.Series, seed: int, what: str) -> list[str]:
    return [name for _, name in sorted(zip(addresses(seed, what, names=ids), ids, strict=True))]


def _moved(images: pd.DataFrame, given: pd.Series, split: pd.Series) -> pd.Series:
    """Why a row is held out although its own place says otherwise: it is a copy of an image that is."""
    held_out = images["id"].notna() & split.isin(["val", "test"])
    agrees = given == split
    own = images["label"].notna() & (given == "none")
    decides = images[held_out & (agrees | own)].assign(rank=agrees).sort_values("rank", ascending=False, kind="stable")
    owner = decides.drop_duplicates("id").set_index("id")["uri"]
    moved = held_out & ~agrees & ~own
    text = "in " + split + " as a copy of " + images["id"].map(owner)
    return text.where(moved)
