"""What the last ingest decoded, so that the next one decodes only files it has not seen.

The images are hard links to the last pixel store (a copy where links cannot be made), found by the
sha256 of each file's bytes. Who changes that store by hand changes what is kept: shards that were
written to since are not used.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.errors import DataError
from stages.core.image.jpeg_store import OFFSETS
from stages.core.image.pixel_store import INDEX, SHARDS, PixelStore, link_shards
from stages.core.io import atomic_directory, canonical_json, read_json, write_json
from stages.ingest.image_table import NUMBERS, TEXT, Facts

VERSION = 5
FACTS = "facts.parquet"
CONTENTS = "contents.npy"
WRITTEN = "written.json"
Keys = npt.NDArray[np.uint64]
Contents = npt.NDArray[np.uint8]  # (N, 32): sha256 of the bytes of each file, zeros where unknown


@dataclass(frozen=True)
class Decoded:
    """The rows of an earlier ingest."""

    store: PixelStore
    facts: Facts
    contents: Contents

    def find(self, contents: Contents) -> npt.NDArray[np.int64]:
        """The row that holds each content, -1 where there is none. Of equal ones the first stands
        for the first, and so on.
        """
        if contents.shape == self.contents.shape and (contents == self.contents).all():
            return np.where(contents.any(axis=1), np.arange(len(contents)), -1)
        found = self._match(contents, lambda some: _starts(some) + _repeats(_starts(some)))
        return np.where(found < 0, self._match(contents, _starts), found)

    def _match(self, contents: Contents, keys: Callable[[Contents], Keys]) -> npt.NDArray[np.int64]:
        have, want = keys(self.contents), keys(contents)
        order = np.argsort(have, kind="stable")
        place = order[np.minimum(np.searchsorted(have[order], want), len(order) - 1)]
        same = (self.contents[place] == contents).all(axis=1) & contents.any(axis=1)
        return np.where(same, place, -1).astype(np.int64)


def _starts(contents: Contents) -> Keys:
    """The first eight bytes of each hash as a number."""
    return np.ascontiguousarray(contents[:, :8]).view(np.uint64).ravel()


def _repeats(keys: Keys) -> Keys:
    """How many equal keys stand before each, as numbers far apart."""
    order = np.argsort(keys, kind="stable")
    first = np.searchsorted(keys[order], keys[order])
    before = np.empty(len(keys), np.uint64)
    before[order] = np.arange(len(keys)) - first
    return before * np.uint64(0x9E3779B97F4A7C15)


def cache_directory(root: Path, *settings: object) -> Path:
    """Where rows decoded with these settings are kept."""
    return (
        root
        / f"decoded-{hashlib.sha256(canonical_json([VERSION, *settings]).encode()).hexdigest()[:16]}"  # noqa: E501
    )


def recall(directory: Path) -> Decoded | None:
    """The rows kept in a directory; ``None`` if there are none, or a crash left them unusable."""
    try:
        if read_json(directory / WRITTEN) != _written(directory):
            return None
        table = pq.read_table(directory / FACTS)
        contents = np.load(directory / CONTENTS, allow_pickle=False)
        store = PixelStore.open(directory)
    except (OSError, ValueError, DataError, pa.ArrowInvalid):
        return None
    if not len(store) == len(table) == len(contents):
        return None
    facts = Facts(len(table))
    for name in TEXT:
        facts.text[name] = table[name].to_numpy()
    facts.shapes = np.stack([table[name].to_numpy() for name in NUMBERS], axis=1)
    return Decoded(store, facts, contents)


def keep(directory: Path, pixels: Path, facts: pd.DataFrame, contents: Contents) -> None:
    """Keep the rows of the store at ``pixels``; earlier settings are forgotten."""
    for old in directory.parent.glob("decoded-*"):
        if old != directory:
            shutil.rmtree(old)
    table = pa.table({name: pa.array(facts[name], from_pandas=True) for name in facts.columns})
    with atomic_directory(directory) as temporary:
        link_shards(pixels, temporary)
        write_json(temporary / WRITTEN, _written(temporary))
        for name in (INDEX, OFFSETS):
            if (pixels / name).is_file():
                shutil.copyfile(pixels / name, temporary / name)
        np.save(temporary / CONTENTS, contents, allow_pickle=False)
        pq.write_table(table, temporary / FACTS, compression="zstd")


def _written(directory: Path) -> dict[str, list[int]]:
    """Shard → its size and when it was last written to."""
    status = {file.name: file.stat() for file in directory.iterdir() if file.suffix in SHARDS}
    return {name: [one.st_size, one.st_mtime_ns] for name, one in sorted(status.items())}
