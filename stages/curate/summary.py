"""What curate tells: how many stay, and by name which do not and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stages.core.data.manifest import Manifest


def count(curated: Manifest) -> dict[str, Any]:
    """The headline numbers of the metrics file."""
    frame = curated.frame
    return {
        "images": len(frame),
        "kept": int(frame["keep"].sum()),
        "pretraining": len(curated.pretraining_rows()),
        "labelled": {
            split: len(curated.labelled_rows(split)) for split in ("train", "val", "test")
        },
    }


def dropped_table(curated: Manifest) -> Iterator[tuple[Any, ...]]:
    """Every image that is not kept: uri, split, reason."""
    frame = curated.frame
    yield from frame.loc[~frame["keep"], ["uri", "split", "reason"]].itertuples(index=False)


def cluster_table(curated: Manifest) -> Iterator[tuple[int, int, int]]:
    """Images for pretraining per cluster: how many there were and how many are kept."""
    frame = curated.frame
    mine = frame[(frame["cluster"] >= 0) & frame["split"].isin(["train", "none"])]
    table = mine.groupby("cluster")["keep"].agg(["size", "sum"])
    yield from table.itertuples(name=None)
