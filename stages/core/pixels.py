"""The pixel store: fixed-size uint8 images in a few large memory-mapped shards, row i belonging to row i of the manifest."""

from __future__ import annotations

import mmap
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stages.core import paths
from stages.core.errors import DataError
from stages.core.io import atomic_directory, read_json, write_json

if TYPE_CHECKING:
    import torch

INDEX = "index.json"
SHARD_BYTES = 256 << 20
SHARDS = (".bin", ".jpgs")


class PixelStore:
    """Read-only uint8 images ``(N, C, H, W)``. Nothing is loaded until rows are gathered."""

    def __init__(
        self, shards: list[npt.NDArray[np.uint8]], shard_rows: int, shape: tuple[int, int, int, int], directory: Path
    ) -> None:
        self.shards, self.shard_rows, self.shape, self.directory = shards, shard_rows, shape, directory

    @classmethod
    def open(cls, directory: Path | str = paths.POOL_PIXELS) -> PixelStore:
        """Map the shards of a directory.

        Raises:
            DataError: the index or a shard is missing or has the wrong length.
        """
        directory = Path(directory)
        index = read_json(directory / INDEX)
        if index.get("kind") == "jpeg":
            from stages.core.jpegs import JpegStore

            return JpegStore.of(directory, index)
        rows, channels, size, shard_rows = index["rows"], index["channels"], index["size"], index["shard_rows"]
        shards = []
        for number, first in enumerate(range(0, rows, shard_rows)):
            shape = (min(shard_rows, rows - first), channels, size, size)
            shards.append(map_shard(directory / shard_name(number), shape))
        return cls(shards, shard_rows, (rows, channels, size, size), directory)

    def __len__(self) -> int:
        return self.shape[0]

    def array(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The images of ``rows`` (any order, repeats allowed) as a new array ``(n, C, H, W)``."""
        self._check(rows)
        if len(self.shards) == 1:
            return np.asarray(self.shards[0][rows])
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        shard_of = rows // self.shard_rows
        for number in np.unique(shard_of):
            here = np.flatnonzero(shard_of == number)
            out[here] = self.shards[number][rows[here] - number * self.shard_rows]
        return out

    def _check(self, rows: npt.NDArray[np.int64]) -> None:
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise DataError(f"rows {int(rows.min())} to {int(rows.max())} asked of a pixel store that has {len(self)}")

    def gather(self, rows: npt.NDArray[np.int64] | torch.Tensor) -> torch.Tensor:
        """The images of ``rows`` as a new uint8 tensor ``(n, C, H, W)``."""
        import torch

        wanted = rows.cpu().numpy() if isinstance(rows, torch.Tensor) else rows
        return torch.from_numpy(self.array(np.asarray(wanted, np.int64)))

    def release(self) -> None:
        """Give back the memory of what was read: who passes over a large store once calls this on the way."""
        for shard in self.shards:
            give_back(shard)


def give_back(mapped: npt.NDArray[Any]) -> None:
    """Let go of the pages of a mapped file that were read or, in a shared one, written; they are read again when asked for."""
    if isinstance(mapped, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class PixelWriter:
    """``with PixelWriter(directory, channels=3, size=32) as writer: writer.append(images)``: all of it appears at the end."""

    def __init__(self, directory: Path | str, channels: int, size: int, shard_bytes: int = SHARD_BYTES) -> None:
        self.directory = Path(directory)
        self.channels, self.size, self.rows = channels, size, 0
        self.row_bytes = channels * size * size
        self.shard_rows = max(1, shard_bytes // self.row_bytes)
        self._stack = ExitStack()
        self._file: Any = None

    def __enter__(self) -> PixelWriter:
        self._temporary = self._stack.enter_context(atomic_directory(self.directory))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
        if kind is None:
            fields = {"format": 1, "rows": self.rows, "channels": self.channels, "size": self.size, "shard_rows": self.shard_rows}
            write_json(self._temporary / INDEX, fields)
        self._stack.__exit__(kind, error, trace)

    @property
    def place(self) -> Place:
        """Where rows that are reserved can be put, by this process or another."""
        return Place(self._temporary.resolve(), self.shard_rows, self.row_bytes)

    def reserve(self, rows: int) -> None:
        """Make room for so many rows, all black until they are put."""
        for number, first in enumerate(range(0, rows, self.shard_rows)):
            with (self._temporary / shard_name(number)).open("wb") as file:
                file.truncate(min(self.shard_rows, rows - first) * self.row_bytes)
        self.rows = rows

    def adopt(self, store: PixelStore) -> None:
        """Take over the shards of another store of this shape, by hard links."""
        self.rows = len(store)
        link_shards(store.directory, self._temporary)

    def append(self, images: npt.NDArray[np.uint8]) -> None:
        """Add ``(n, C, H, W)`` images after those already there."""
        if images.dtype != np.uint8 or images.shape[1:] != (self.channels, self.size, self.size):
            wanted = (self.channels, self.size, self.size)
            raise DataError(f"the store takes uint8 images {wanted}, not {images.dtype} {images.shape[1:]}")
        done = 0
        while done < len(images):
            room = self.shard_rows - self.rows % self.shard_rows
            if room == self.shard_rows:
                self._next_shard()
            part = images[done : done + room]
            self._file.write(np.ascontiguousarray(part).data)
            self.rows += len(part)
            done += len(part)

    def _next_shard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = (self._temporary / shard_name(self.rows // self.shard_rows)).open("wb")


@dataclass(frozen=True)
class Place:
    """The shards of a store that is being written."""

    directory: Path
    shard_rows: int
    row_bytes: int

    def put(self, rows: npt.NDArray[np.int64], images: npt.NDArray[np.uint8]) -> None:
        """Write images ``(n, C, H, W)`` to reserved ``rows``, ascending; neighbours in one go."""
        if not len(rows):
            return
        breaks = np.flatnonzero((np.diff(rows) != 1) | (rows[1:] % self.shard_rows == 0)) + 1
        for begin, end in pairwise([0, *breaks.tolist(), len(rows)]):
            number, row = divmod(int(rows[begin]), self.shard_rows)
            with (self.directory / shard_name(number)).open("r+b") as file:
                file.seek(row * self.row_bytes)
                file.write(np.ascontiguousarray(images[begin:end]).data)


def link_shards(source: Path, target: Path) -> None:
    """Hard links to the shards of a store in an empty directory; copies where links cannot be made."""
    for file in sorted(source.iterdir()):
        if file.suffix in SHARDS:
            try:
                os.link(file, target / file.name)
            except OSError:
                shutil.copyfile(file, target / file.name)


def shard_name(number: int) -> str:
    """``00000.bin`` and so on."""
    return f"{number:05}.bin"


def map_shard(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    expected = int(np.prod(shape))
    found = path.stat().st_size if path.is_file() else -1
    if found != expected:
        problem = "is missing" if found < 0 else f"has {found:,} bytes instead of {expected:,}"
        raise DataError(f"{path} {problem}: run ingest again (rootstock run --force ingest)")
    return np.memmap(path, np.uint8, "r", shape=shape)
