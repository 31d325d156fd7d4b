"""A folder of image files: one folder per class, or flat and unlabelled, with or without
train/val/test on top.
"""

from __future__ import annotations

import os

from stages.core.data.sources import SPLITS, UNLABELLED, Source, has_splits, place
from stages.core.params import Ingest
from stages.ingest.listing import Entries


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the images; a handle is a path."""
    listing = source.listing
    root = os.fspath(source.path)
    folders = [name.rpartition("/")[0] for name in listing.files]
    different = sorted(set(folders))
    top = sorted({folder.split("/", 1)[0] for folder in different if folder})
    splits = has_splits(top)
    places = {folder: place(f"{folder}/" if folder else "", splits) for folder in different}
    names = {label: readable(label) for _, label in places.values() if label is not None}
    return Entries(
        uris=[name if name.isascii() else readable(name) for name in listing.files],
        labels=[
            None if label is None else names[label] for _, label in map(places.__getitem__, folders)
        ],
        splits=[split for split, _ in map(places.__getitem__, folders)],
        handles=[f"{root}/{name}" for name in listing.files],
        contents=source.contents,
        ignored=listing.ignored,
        remarks=no_splits(top) if source.role == "target" else (),
    )


def load(handle: str) -> str:
    """The path; decoding reads it."""
    return handle


def no_splits(folders: list[str]) -> tuple[str, ...]:
    """What to say where one of the top-level folders is called train and another keeps them from
    being splits.
    """
    train = [name for name in folders if SPLITS.get(name.lower()) == "train"]
    others = [name for name in folders if name.lower() not in SPLITS.keys() | UNLABELLED]
    if not (train and others):
        return ()
    return (
        (
            f"{readable(train[0])!r} is taken for a class, as {readable(others[0])!r} beside it is"
            f" no split ({', '.join(SPLITS)})"
        ),
    )


def readable(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 are written as ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
