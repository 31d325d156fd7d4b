"""What ingest tells: counts for metrics, and named rows for everything a person may want to look
up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from stages.core.data.manifest import Manifest
from stages.core.io import write_csv
from stages.ingest.auto_settings import Store
from stages.ingest.collect import Listed


def copies(manifest: Manifest) -> pd.DataFrame:
    """Every exact copy after the first: its ``uri`` and the ``first`` it repeats."""
    frame = manifest.frame[manifest.ok]
    first = frame.groupby("id", sort=False)["uri"].transform("first")
    repeated = first != frame["uri"]
    return pd.DataFrame({"uri": frame["uri"][repeated], "first": first[repeated]})


def count(manifest: Manifest, listed: Listed, store: Store) -> dict[str, Any]:
    """The metrics of ingest."""
    frame, ok = manifest.frame, manifest.ok
    ignored: dict[str, int] = {}
    for _, entries in listed:
        for extension, files in entries.ignored.items():
            ignored[extension] = ignored.get(extension, 0) + files
    return {
        "images": len(frame),
        "quarantined": int((~ok).sum()),
        "duplicates": len(copies(manifest)),
        "classes": len(manifest.classes),
        "labelled": int(frame.loc[ok, "label"].notna().sum()),
        "splits": {
            name: int((frame.loc[ok, "split"] == name).sum())
            for name in ("train", "val", "test", "none")
        },
        "ignored": ignored,
        "store": {"size": store.size, "channels": store.channels},
    }


def write_reports(manifest: Manifest, directory: Path) -> None:
    """``quarantined.csv``, ``duplicates.csv`` and ``classes.csv``."""
    frame = manifest.frame
    lost = frame[~manifest.ok]
    write_csv(
        directory / "quarantined.csv",
        ["uri", "reason"],
        lost[["uri", "reason"]].itertuples(index=False),
    )
    write_csv(
        directory / "duplicates.csv", ["uri", "copy_of"], copies(manifest).itertuples(index=False)
    )
    table = (
        frame[manifest.ok & frame["label"].notna()]
        .groupby(["label", "split"])
        .size()
        .unstack(fill_value=0)
    )
    table = table.reindex(columns=["train", "val", "test"], fill_value=0)
    write_csv(directory / "classes.csv", ["label", *table.columns], table.itertuples())
