"""A folder of image files: one folder per class, or flat and unlabelled, with or without train/val/test on top."""

from __future__ import annotations

import os
from pathlib import Path

from stages.core.folders import content_hashes, walk
from stages.core.params import Ingest
from stages.core.sources import Source, has_splits, place
from stages.ingest.entries import Entries


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the images; a handle is a path."""
    listing = walk(source.path)
    root = os.fspath(source.path)
    splits = has_splits(sorted({name.split("/", 1)[0] for name in listing.files if "/" in name}))
    places = [place(name, splits) for name in listing.files]
    return Entries(
        uris=[readable(name) for name in listing.files],
        labels=[None if label is None else readable(label) for _, label in places],
        splits=[split for split, _ in places],
        handles=[f"{root}/{name}" for name in listing.files],
        contents=content_hashes(listing),
        ignored=listing.ignored,
    )


def load(handle: str) -> Path:
    """The path; decoding reads it."""
    return Path(handle)


def readable(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 are written as ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
