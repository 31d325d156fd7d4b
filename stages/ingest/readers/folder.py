"""A folder of image files: one folder per class, or flat and unlabelled, with given splits at
whatever level.
"""

from __future__ import annotations

import os

from stages.core.data.sources import Source
from stages.core.sections import Ingest
from stages.ingest.listing import Entries
from stages.ingest.places import find_places, readable, settled


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the images; a handle is a path."""
    listing = source.listing
    root = os.fspath(source.path)
    places = find_places(listing.files, ingest, listing.folders)
    names = {label: readable(label) for label in set(places.labels) if label is not None}
    splits, apart = settled(places.splits)
    return Entries(
        uris=[name if name.isascii() else readable(name) for name in listing.files],
        labels=[None if label is None else names[label] for label in places.labels],
        splits=splits,
        handles=[f"{root}/{name}" for name in listing.files],
        contents=source.contents,
        ignored=listing.ignored,
        remarks=places.remarks if source.role == "target" else (),
        given=places.given,
        apart=apart,
        names=places.names,
    )


def load(handle: str) -> str:
    """The path; decoding reads it."""
    return handle
