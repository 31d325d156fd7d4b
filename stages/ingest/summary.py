"""What ingest tells: counts for metrics, and named rows for everything a person may want to look
up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from stages.core.data.manifest import Manifest
from stages.core.io import write_csv, write_json
from stages.ingest.auto_settings import Store
from stages.ingest.collect import Listed

LEFT_OUT = "left_out.json"
HEIC = frozenset({".heic", ".heif", ".hif"})


def copies(manifest: Manifest) -> pd.DataFrame:
    """Every exact copy after the first: its ``uri`` and the ``first`` it repeats."""
    frame = manifest.frame[manifest.ok]
    first = frame.groupby("id", sort=False)["uri"].transform("first")
    repeated = first != frame["uri"]
    return pd.DataFrame({"uri": frame["uri"][repeated], "first": first[repeated]})


def count(manifest: Manifest, listed: Listed, store: Store) -> dict[str, Any]:
    """The metrics of ingest."""
    frame, ok = manifest.frame, manifest.ok
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
        "ignored": left_out(listed),
        "store": {"size": store.size, "channels": store.channels},
    }


def left_out(listed: Listed) -> dict[str, int]:
    """Files of all sources that are no rows, counted by kind: mostly the extension."""
    found: dict[str, int] = {}
    for _, entries in listed:
        for kind, files in entries.ignored.items():
            found[kind] = found.get(kind, 0) + files
    return dict(sorted(found.items()))


def left_out_line(listed: Listed) -> str | None:
    """One line on the files that are no rows; ``None`` where there are none."""
    found = left_out(listed)
    if not found:
        return None
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.items())
    hint = "; HEIC is not decoded here, convert it to JPEG" if HEIC & found.keys() else ""
    return (
        f"{sum(found.values()):,} files are no images that can be read here and are left out:"
        f" {kinds}{hint}"
    )


def write_left_out(listed: Listed, directory: Path) -> None:
    """``left_out.json`` beside the manifest: kind → files, for every source that has any. Without
    any, no file.
    """
    found = {
        source.name: dict(sorted(entries.ignored.items()))
        for source, entries in listed
        if entries.ignored
    }
    if found:
        write_json(directory / LEFT_OUT, found)
    else:
        (directory / LEFT_OUT).unlink(missing_ok=True)


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
