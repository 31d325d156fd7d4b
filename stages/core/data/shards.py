"""Where the shards of a store end: at places that the names of the images choose, not their
numbers.

So a version of the data that adds images has most of its shards in common with the one before, byte
for byte: they are linked and not written again, DVC keeps one copy of them for all versions, and
pushes the others only. The idea is content-defined chunking (A Low-bandwidth Network File System,
2001), with the hash of an image's name instead of a rolling one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

LEAST_BYTES = 1 << 20
MOST_BYTES = 256 << 20
"""Of an average shard."""
SHARDS = 64
"""How many there are between the two: many files are what makes DVC slow, few have little in common
with the next version's.
"""

Rows = npt.NDArray[np.int64]


def even_ends(rows: int, shard_rows: int) -> Rows:
    """The row after the last of each shard, where each but the last has ``shard_rows``."""
    return np.minimum(np.arange(shard_rows, rows + shard_rows, shard_rows), rows).astype(np.int64)


def named_ends(names: Iterable[str], rows: int, row_bytes: int) -> Rows:
    """The row after the last of each shard of ``rows`` images with these names.

    A shard ends before an image whose name's checksum falls below a share of all, when it has at
    least a quarter of the rows of an average one, or when it has four times as many. The average is
    a power of two, so it seldom changes as data grow.
    """
    average = _average(rows, row_bytes)
    if rows <= average // 4:
        return even_ends(rows, max(rows, 1))
    ends, begin = list[int](), 0
    for row in [*np.flatnonzero(_scattered(names, rows) < (1 << 32) // average).tolist(), rows]:
        while row - begin > 4 * average:
            begin += 4 * average
            ends.append(begin)
        if row - begin >= max(average // 4, 1) or (row == rows and row > begin):
            begin = row
            ends.append(row)
    return np.array(ends, np.int64)


def whole_shard(known: Rows, ends: Rows) -> int | None:
    """The number of the shard among those with these ``ends`` whose rows, all and in their order,
    are ``known``.
    """
    first, last = int(known[0]), int(known[-1])
    number = int(np.searchsorted(ends, first, side="right"))
    begin = int(ends[number - 1]) if number else 0
    if (
        first != begin
        or number >= len(ends)
        or last + 1 != ends[number]
        or not (np.diff(known) == 1).all()
    ):
        return None
    return number


def _scattered(names: Iterable[str], rows: int) -> npt.NDArray[np.uint32]:
    """A number for each name; multiplied, as checksums of names that count up are far from
    chance.
    """
    checksums = np.fromiter(
        (zlib.crc32(name.encode("utf-8", "surrogateescape")) for name in names), np.uint32, rows
    )
    checksums *= np.uint32(2654435761)
    checksums ^= checksums >> np.uint32(15)
    checksums *= np.uint32(2246822519)
    return checksums


def _average(rows: int, row_bytes: int) -> int:
    wanted = min(max(LEAST_BYTES, rows * row_bytes // SHARDS), MOST_BYTES) // row_bytes
    return 1 << max(wanted - 1, 0).bit_length()
