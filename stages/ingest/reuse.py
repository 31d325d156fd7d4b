"""What the last ingest decoded, so that the next one decodes only files it has not seen.

The pixels are hard links to the last pixel store (a copy where links cannot be made), found by the sha256 of each file's bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.errors import DataError
from stages.core.io import atomic_directory, canonical_json
from stages.core.pixels import PixelStore
from stages.ingest.decode import Chunk, join

VERSION = 1
FACTS = "facts.parquet"
Contents = npt.NDArray[np.uint8]  # (N, 32): sha256 of the bytes of each file, zeros where unknown


@dataclass(frozen=True)
class Decoded:
    """The rows of an earlier ingest."""

    store: PixelStore
    facts: pd.DataFrame
    place: dict[bytes, int]

    def find(self, contents: Contents) -> npt.NDArray[np.int64]:
        """The row that holds each content, -1 where there is none."""
        return np.array([self.place.get(content.tobytes(), -1) for content in contents], np.int64)

    def chunk(self, rows: npt.NDArray[np.int64]) -> Chunk:
        """Those rows as if they had just been decoded."""
        facts = self.facts.iloc[rows]
        shapes = facts[["width", "height", "channels"]].to_numpy(np.int32)
        ids, hashes, reasons = (facts[name].tolist() for name in ("id", "phash", "reason"))
        return Chunk(self.store.array(rows), ids, hashes, shapes, reasons)


def cache_directory(root: Path, *settings: object) -> Path:
    """Where rows decoded with these settings are kept."""
    return root / f"decoded-{hashlib.sha256(canonical_json([VERSION, *settings]).encode()).hexdigest()[:16]}"


def recall(directory: Path) -> Decoded | None:
    """The rows kept in a directory; ``None`` if there are none, or a crash left them unusable."""
    try:
        table = pq.read_table(directory / FACTS)
        store = PixelStore.open(directory)
    except (OSError, DataError, pa.ArrowInvalid):
        return None
    contents = table["content"].to_pylist()
    facts = pd.DataFrame({name: pd.Series(table[name].to_pylist(), dtype=object) for name in table.column_names[:-1]})
    return Decoded(store, facts, {content: row for row, content in enumerate(contents) if any(content)})


def keep(directory: Path, pixels: Path, facts: pd.DataFrame, contents: Contents) -> None:
    """Keep the rows of the store at ``pixels``; earlier settings are forgotten."""
    for old in directory.parent.glob("decoded-*"):
        if old != directory:
            shutil.rmtree(old)
    table = pa.table({name: pa.array(facts[name], from_pandas=True) for name in facts.columns})
    table = table.append_column("content", pa.array([content.tobytes() for content in contents], pa.binary(32)))
    with atomic_directory(directory) as temporary:
        for file in pixels.iterdir():
            _link(file, temporary / file.name)
        pq.write_table(table, temporary / FACTS, compression="zstd")


def merge(known: npt.NDArray[np.int64], decoded: Decoded | None, fresh: Iterable[Chunk], block: int) -> Iterator[Chunk]:
    """All rows in order: those in ``decoded`` from there, the others (``known < 0``) from ``fresh``, which has them in order."""
    if decoded is None or not (known >= 0).any():
        yield from fresh
        return
    stream, waiting = iter(fresh), 0
    queue: list[Chunk] = []
    for first in range(0, len(known), block):
        part = known[first : first + block]
        missing = np.flatnonzero(part < 0)
        while waiting < len(missing):
            queue.append(next(stream))
            waiting += len(queue[-1].ids)
        parts = [decoded.chunk(part[part >= 0])]
        if len(missing):
            pile = join(queue)
            parts.append(_rows(pile, np.arange(len(missing))))
            queue, waiting = [_rows(pile, np.arange(len(missing), waiting))], waiting - len(missing)
        order = np.argsort(np.concatenate([np.flatnonzero(part >= 0), missing]), kind="stable")
        yield _rows(join(parts), order)


def _rows(chunk: Chunk, rows: npt.NDArray[np.int64]) -> Chunk:
    lists = [[column[row] for row in rows] for column in (chunk.ids, chunk.hashes, chunk.reasons)]
    return Chunk(chunk.pixels[rows], lists[0], lists[1], chunk.shapes[rows], lists[2])


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
