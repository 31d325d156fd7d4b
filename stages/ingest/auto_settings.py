"""What ``auto`` means for this data: side, channels and 16-bit range of the pixel store, from a
sample of the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_low
from typing import Any

from stages.core.data.sources import Source
from stages.core.image.decode import Unreadable, deep_range, probe, whole
from stages.core.plugins import load
from stages.core.sections import Ingest
from stages.core.sixteen import FEW, FULL, Levels, range_in_use
from stages.ingest.listing import Entries

SIZES = (32, 64, 96, 128, 224)
SAMPLE = 512


@dataclass(frozen=True)
class Store:
    """Side and channels of the pixel store, and what it holds: ``pixels`` or ``jpeg``."""

    size: int
    channels: int
    kind: str = "pixels"
    levels: Levels = FULL  # of 16-bit values, that becomes 0 to 255
    deep: tuple[int, int, int] | None = (
        None  # images of 16 bits in the sample, and the lowest and highest value of them
    )


def resolve_store(
    ingest: Ingest, listed: list[tuple[Source, Entries]], largest: int = SIZES[-1]
) -> Store:
    """Fill in ``auto``: the digits want 16 pixels, files the usual size nearest to their median
    shorter side, but no more than ``largest`` (what the budget can train); grey stays grey.
    """
    sides, channels = [], {1}
    deep: list[tuple[int, int]] = []
    for source, entries in listed:
        if source.kind == "digits":
            sides += [16] * min(len(entries), SAMPLE)
            continue
        fetch = load("stages.ingest.readers", source.kind).load
        for handle in _sample(entries.handles):
            try:
                image = fetch(handle)
                width, height, depth, is_deep = probe(image)
                span = (
                    deep_range(whole(image, ingest.max_pixels), ingest.max_pixels)
                    if is_deep
                    else None
                )
            except Unreadable:
                continue
            sides.append(_usual(min(width, height)))
            channels.add(depth)
            deep += [span] if span else []
    if ingest.store_size != "auto":
        size = ingest.store_size
    else:
        size = min(median_low(sides or SIZES[:1]), largest)
    found = (
        (len(deep), min(low for low, _ in deep), max(high for _, high in deep)) if deep else None
    )
    usable = found is not None and found[2] <= FULL[1] and found[1] >= 0
    auto = range_in_use(found[1], found[2]) if found is not None and usable else FULL
    levels = auto if ingest.sixteen_bit == "auto" else ingest.sixteen_bit
    return Store(
        size,
        ingest.channels if ingest.channels != "auto" else max(channels),
        ingest.store,
        levels,
        found,
    )


def depth_remark(store: Store) -> str | None:
    """What to say of images of 16 bits: which range became 0 to 255, and whether few levels are
    left of it.
    """
    if store.deep is None:
        return None
    count, lowest, highest = store.deep
    low, high = store.levels
    used = (min(highest, high) - max(lowest, low)) * 256 // (high - low + 1) + 1
    few = f"; only {max(used, 1)} of 256 levels are in use" if used < FEW else ""
    if store.levels == FULL and not few:
        return None
    return (
        f"images of 16 bits ({count:,} looked at) hold values from {lowest:,} to {highest:,}:"
        f" {low:,} to {high:,} becomes 0 to 255{few} (ingest.sixteen_bit: [{lowest}, {highest}] or"
        " another range)"
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
