"""Labels that are hardly meant: classes that are one, lost or rare, and pictures under two
labels.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

import pandas as pd

from stages.core.sections import Ingest

OTHER = "other"
"""The class that rare ones become with ``ingest.rare_classes: merge``."""
SHOWN = 5


def rare_classes(images: pd.DataFrame, least: int) -> pd.Series:
    """Distinct readable images of every class that has fewer than ``least`` of them, by label.

    Args:
        images: ``id`` (null: quarantined) and ``label`` (null: none), one row per image.
    """
    known = images[images["label"].notna()]
    counts = known.groupby("label", sort=True)["id"].nunique()
    return counts[counts < least]


def without_rare(images: pd.DataFrame, ingest: Ingest) -> pd.Series:
    """The labels after ``ingest.rare_classes``: as they are, without the rare ones, or these as one
    class.
    """
    if ingest.rare_classes == "keep":
        return images["label"]
    rare = images["label"].isin(rare_classes(images, ingest.min_images).index)
    new = None if ingest.rare_classes == "leave_out" else OTHER
    return images["label"].astype(object).mask(rare, new)


def label_remarks(images: pd.DataFrame, ingest: Ingest) -> Iterator[str]:
    """What to say of the labels the sources give, before any is set aside."""
    counts = images.loc[images["label"].notna(), "label"].value_counts().sort_index()
    yield from _alike(counts)
    yield from _unreadable(images, counts)
    yield from _twice(images, counts)
    yield from _rare(images, ingest)


def _alike(counts: pd.Series) -> Iterator[str]:
    """Names that a person takes for one."""
    groups: dict[str, list[str]] = {}
    for name in counts.index:
        groups.setdefault(_folded(name), []).append(name)
    for names in groups.values():
        if len(names) < 2:
            continue
        composed = len({unicodedata.normalize("NFC", name) for name in names}) == 1
        how = (
            "the composition of their characters (Unicode)"
            if composed
            else "case, spaces or composition"
        )
        # two names that print the same are told apart by their characters
        shown = [ascii(name) if composed else repr(name) for name in names]
        found = " and ".join(
            f"{name} ({counts[key]:,} images)" for name, key in zip(shown, names, strict=True)
        )
        yield f"classes {found} differ only in {how}: if they are one, give them one name"


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in plain if character.isalnum()) or plain


def _unreadable(images: pd.DataFrame, counts: pd.Series) -> Iterator[str]:
    readable = set(images.loc[images["id"].notna(), "label"].dropna())
    for name in counts.index[~counts.index.isin(list(readable))]:
        yield f"class {name!r}: none of its {counts[name]:,} images can be used, so it is no class"


def _twice(images: pd.DataFrame, counts: pd.Series) -> Iterator[str]:
    """Pictures under two labels, pair by pair, and classes that hold nothing else."""
    known = images[images["id"].notna() & images["label"].notna()]
    pairs = known[["id", "label"]].drop_duplicates()
    several = pairs[pairs["id"].duplicated(keep=False)]
    if several.empty:
        return
    joined = Counter(tuple(sorted(labels)) for _, labels in several.groupby("id")["label"])
    lost = lost_classes(known)
    for labels, number in sorted(joined.items())[:SHOWN]:
        named = " and ".join(f"{label!r} ({counts[label]:,} images)" for label in labels)
        gone = [repr(label) for label in labels if label in lost]
        vanishes = (
            f"; {' and '.join(gone)} holds nothing else and vanishes with its copies"
            if gone
            else ""
        )
        yield (
            f"{number:,} picture{'s' * (number > 1)} {'are' if number > 1 else 'is'} in"
            f" {named}{vanishes}"
        )


def lost_classes(known: pd.DataFrame) -> dict[str, str]:
    """Classes of whose images every one is a copy of one that comes first under another label →
    that label.

    Args:
        known: ``id`` and ``label`` of readable, labelled images, in manifest order.
    """
    first = known.drop_duplicates("id").set_index("id")["label"]
    owner = known["id"].map(first)
    keeps = set(known["label"][owner == known["label"]])
    gone = known[~known["label"].isin(list(keeps))]
    return dict(zip(gone["label"], owner[gone.index], strict=True))


def _rare(images: pd.DataFrame, ingest: Ingest) -> Iterator[str]:
    rare = rare_classes(images[images["id"].notna()], ingest.min_images)
    if rare.empty:
        return
    named = ", ".join(f"{name!r} {count:,}" for name, count in rare.head(SHOWN).items())
    more = ", …" if len(rare) > SHOWN else ""
    became = {
        "keep": f"kept; --set ingest.rare_classes=leave_out or merge (into {OTHER!r}) changes that",
        "leave_out": "their images are used unlabelled (ingest.rare_classes)",
        "merge": f"merged into {OTHER!r} (ingest.rare_classes)",
    }[ingest.rare_classes]
    yield f"classes of fewer than {ingest.min_images} distinct images: {named}{more}; {became}"
