"""A folder of image files: one folder per class, or flat and unlabelled, with or without train/val/test on top."""

from __future__ import annotations

import os

from stages.core.params import Ingest
from stages.core.sources import Source, has_splits, place
from stages.ingest.entries import Entries


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the images; a handle is a path."""
    listing = source.listing
    root = os.fspath(source.path)
    folders = [name.rpartition("/")[0] for name in listing.files]
    different = sorted(set(folders))
    splits = has_splits(sorted({folder.split("/", 1)[0] for folder in different if folder}))
    places = {folder: place(f"{folder}/" if folder else "", splits) for folder in different}
    names = {label: readable(label) for _, label in places.values() if label is not None}
    return Entries(
        uris=[name if name.isascii() else readable(name) for name in listing.files],
        labels=[None if label is None else names[label] for _, label in map(places.__getitem__, folders)],
        splits=[split for split, _ in map(places.__getitem__, folders)],
        handles=[f"{root}/{name}" for name in listing.files],
        contents=source.contents,
        ignored=listing.ignored,
    )


def load(handle: str) -> str:
    """The path; decoding reads it."""
    return handle


def readable(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 are written as ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
