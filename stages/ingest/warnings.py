"""Warn about likely mistakes in the sources; refuse those no run could use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stages.core.data.manifest import Manifest
from stages.core.errors import DataError
from stages.core.image.pixel_store import PixelStore
from stages.core.sixteen import FEW
from stages.ingest.collect import Listed

FLAT_SAMPLE = 256
TABLES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".txt", ".xml"})


def check_listed(listed: Listed) -> None:
    """Refuse an archive without images, and sources with a single class between them.

    Raises:
        DataError: and what to do.
    """
    for source, entries in listed:
        if not len(entries):
            others = ", ".join(
                f"{count} of {extension}" for extension, count in sorted(entries.ignored.items())
            )
            raise DataError(
                f"{source.kind}:{source.argument} holds no images{f' ({others})' if others else ''}"
            )
    labels = {
        label
        for source, entries in listed
        if source.role == "target"
        for label in entries.labels
        if label is not None
    }
    if len(labels) == 1:
        (only,) = labels
        packed = any(source.kind == "tar" for source, _ in listed)
        how = (
            f"; if {only!r} is the folder that was packed, pack what is in it: tar -cf x.tar -C"
            f" {only} ."
            if packed
            else ""
        )
        raise DataError(
            f"all labelled images have one label, {only!r}: a classifier needs two or more"
            f" classes{how}"
        )


def flat_remark(store: PixelStore, manifest: Manifest) -> str | None:
    """What to say where a channel of the stored images uses few of its 256 levels: nearly black, or
    nearly flat.
    """
    rows = manifest.rows(manifest.ok)
    if not len(rows):
        return None
    sample = store.array(
        rows[np.linspace(0, len(rows) - 1, min(len(rows), FLAT_SAMPLE)).astype(np.int64)]
    )
    lowest, highest = sample.min(axis=(0, 2, 3)), sample.max(axis=(0, 2, 3))
    narrow = np.flatnonzero(highest.astype(int) - lowest < FEW)
    if not len(narrow):
        return None
    channel = int(narrow[0])
    which = f"channel {channel + 1} of {len(lowest)}" if len(lowest) > 1 else "the only channel"
    return (
        f"{which} uses few levels, {lowest[channel]} to {highest[channel]} of 0 to 255, over"
        f" {len(sample):,} images: nearly flat; of images of 16 bits ingest.sixteen_bit sets the"
        " range"
    )


def remarks(listed: Listed, manifest: Manifest) -> Iterator[str]:
    """What readers noticed, how many labels are not used, and what follows from having none."""
    for _, entries in listed:
        yield from entries.remarks
    named = np.concatenate(
        [
            [source.role == "target" and label is not None for label in entries.labels]
            for source, entries in listed
        ]
    )
    hidden = int((named & manifest.ok & manifest.frame["label"].isna()).sum())
    if hidden:
        yield (
            f"{hidden} more images have labels that are set aside, to learn from few"
            " (ingest.labelled_fraction); --set ingest.labelled_fraction=1 uses all"
        )
    if not manifest.classes:
        yield (
            "no image has a label; pretraining and distillation work, fine-tuning and evaluation"
            " need class folders"
        )
        tables = sorted(
            {extension for _, entries in listed for extension in entries.ignored} & TABLES
        )
        if tables:
            kinds = " or ".join(tables)
            yield (
                f"labels in {kinds} files are not read; docs/data.md (A table of labels) makes a"
                " Parquet file of them"
            )
