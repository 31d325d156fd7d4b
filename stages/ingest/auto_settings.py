"""What ``auto`` means for this data: the side and the channels of the pixel store, from a sample of
the images' headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_low
from typing import Any

from stages.core.data.sources import Source
from stages.core.image.decode import Unreadable, probe
from stages.core.params import Ingest
from stages.core.plugins import load
from stages.ingest.listing import Entries

SIZES = (32, 64, 96, 128, 224)
SAMPLE = 512


@dataclass(frozen=True)
class Store:
    """Side and channels of the pixel store, and what it holds: ``pixels`` or ``jpeg``."""

    size: int
    channels: int
    kind: str = "pixels"


def resolve_store(
    ingest: Ingest, listed: list[tuple[Source, Entries]], largest: int = SIZES[-1]
) -> Store:
    """Fill in ``auto``: the digits want 16 pixels, files the usual size nearest to their median
    shorter side, but no more than ``largest`` (what the budget can train); grey stays grey.
    """
    if ingest.store_size != "auto" and ingest.channels != "auto":
        return Store(ingest.store_size, ingest.channels, ingest.store)
    sides, channels = [], {1}
    for source, entries in listed:
        if source.kind == "digits":
            sides += [16] * min(len(entries), SAMPLE)
            continue
        fetch = load("stages.ingest.readers", source.kind).load
        for handle in _sample(entries.handles):
            try:
                width, height, depth = probe(fetch(handle))
            except Unreadable:
                continue
            sides.append(_usual(min(width, height)))
            channels.add(depth)
    if ingest.store_size != "auto":
        size = ingest.store_size
    else:
        size = min(median_low(sides or SIZES[:1]), largest)
    return Store(
        size, ingest.channels if ingest.channels != "auto" else max(channels), ingest.store
    )


def _sample(handles: Any) -> list[Any]:
    """At most ``SAMPLE`` handles, evenly spread."""
    count = len(handles)
    return [
        handles[position * count // min(count, SAMPLE)] for position in range(min(count, SAMPLE))
    ]


def _usual(side: int) -> int:
    """The usual size nearest in ratio."""
    return min(SIZES, key=lambda size: max(size / max(side, 1), side / size))
