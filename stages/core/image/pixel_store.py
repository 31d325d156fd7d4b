"""The pixel store: fixed-size uint8 images in a few large memory-mapped shards, row i belonging to
row i of the manifest.
"""

from __future__ import annotations

import mmap
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from stages.core import paths
from stages.core.data.shards import Rows, even_ends, whole_shard
from stages.core.errors import DataError
from stages.core.io import atomic_directory, read_json, write_json
from stages.core.sixteen import FULL, Levels

if TYPE_CHECKING:
    import torch

INDEX = "index.json"
LEVELS = "sixteen_bit"
SHARD_BYTES = 256 << 20
SHARDS = (".bin", ".jpgs")
PIECE = 1 << 20
"""Bytes copied at a time."""


class PixelStore:
    """Read-only uint8 images ``(N, C, H, W)``. Nothing is loaded until rows are gathered.

    Attributes:
        ends: the row after the last of each shard.
        levels: the range of 16-bit values that became 0 to 255.
    """

    levels: Levels = FULL

    def __init__(
        self,
        shards: list[npt.NDArray[np.uint8]],
        ends: Rows,
        shape: tuple[int, int, int, int],
        directory: Path,
    ) -> None:
        self.shards, self.ends, self.shape, self.directory = shards, ends, shape, directory

    @classmethod
    def open(cls, directory: Path | str = paths.POOL_PIXELS) -> PixelStore:
        """Map the shards of a directory.

        Raises:
            DataError: the index or a shard is missing or has the wrong length.
        """
        directory = Path(directory)
        index = read_json(directory / INDEX)
        if index.get("kind") == "jpeg":
            from stages.core.image.jpeg_store import JpegStore

            return JpegStore.of(directory, index).with_levels(index)
        rows, channels, size, ends = index["rows"], index["channels"], index["size"], ends_of(index)
        lengths = np.diff(ends, prepend=0).tolist()
        shards = [
            map_shard(directory / shard_name(number), (some, channels, size, size))
            for number, some in enumerate(lengths)
        ]
        return cls(shards, ends, (rows, channels, size, size), directory).with_levels(index)

    def with_levels(self, index: dict[str, Any]) -> Self:
        """The same store, with the range its index names."""
        low, high = index.get(LEVELS, FULL)
        self.levels = (low, high)
        return self

    def __len__(self) -> int:
        return self.shape[0]

    def array(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The images of ``rows`` (any order, repeats allowed) as a new array ``(n, C, H, W)``."""
        self._check(rows)
        if len(self.shards) == 1:
            return np.asarray(self.shards[0][rows])
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        shard_of = np.searchsorted(self.ends, rows, side="right")
        order = np.argsort(shard_of, kind="stable")
        for here in (
            np.split(order, np.flatnonzero(np.diff(shard_of[order])) + 1) if len(rows) else ()
        ):
            number = int(shard_of[here[0]])
            out[here] = self.shards[number][rows[here] - self.begin(number)]
        return out

    def begin(self, number: int) -> int:
        """The first row of a shard."""
        return int(self.ends[number - 1]) if number else 0

    def _check(self, rows: npt.NDArray[np.int64]) -> None:
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise DataError(
                f"rows {int(rows.min())} to {int(rows.max())} asked of a pixel store that has"
                f" {len(self)}"
            )

    def gather(self, rows: npt.NDArray[np.int64] | torch.Tensor) -> torch.Tensor:
        """The images of ``rows`` as a new uint8 tensor ``(n, C, H, W)``."""
        import torch

        wanted = rows.cpu().numpy() if isinstance(rows, torch.Tensor) else rows
        return torch.from_numpy(self.array(np.asarray(wanted, np.int64)))

    def release(self) -> None:
        """Give back the memory of what was read: who passes over a large store once calls this on
        the way.
        """
        for shard in self.shards:
            give_back(shard)


def give_back(mapped: npt.NDArray[Any]) -> None:
    """Let go of the pages of a mapped file that were read or, in a shared one, written; they are
    read again when asked for.
    """
    if isinstance(mapped, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class PixelWriter:
    """``with PixelWriter(directory, channels=3, size=32) as writer: writer.append(images)``: all of
    it appears at the end.
    """

    def __init__(
        self, directory: Path | str, channels: int, size: int, shard_bytes: int = SHARD_BYTES
    ) -> None:
        self.directory = Path(directory)
        self.channels, self.size, self.rows = channels, size, 0
        self.row_bytes = channels * size * size
        self.shard_rows = max(1, shard_bytes // self.row_bytes)
        self.ends: Rows | None = None
        self.levels = FULL
        self._stack = ExitStack()
        self._file: Any = None
        self._copies: list[Future[None]] = []

    def __enter__(self) -> PixelWriter:
        self._temporary = self._stack.enter_context(atomic_directory(self.directory))
        self._stack.push(self._finish)
        self._copier = self._stack.enter_context(ThreadPoolExecutor(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _finish(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        if kind is None:
            for copy in self._copies:
                copy.result()
            ends = even_ends(self.rows, self.shard_rows) if self.ends is None else self.ends
            fields = {
                "rows": self.rows,
                "channels": self.channels,
                "size": self.size,
                **index_of(ends, self.levels),
            }
            write_json(self._temporary / INDEX, fields)

    @property
    def place(self) -> Place:
        """Where rows that are reserved can be put, by this process or another."""
        assert self.ends is not None
        return Place(self._temporary.resolve(), self.ends, self.row_bytes)

    def reserve(self, ends: Rows, known: Rows, store: PixelStore | None) -> None:
        """Make room for shards that end at these rows, black until they are put. What ``store`` has
        of them is copied meanwhile.

        Args:
            known: for each row its row in ``store``, -1 where that has it not.
            store: of this shape. Shards that are the same in it are taken over by links.
        """
        self.ends, self.rows = ends, int(ends[-1]) if len(ends) else 0
        for number, (begin, end) in enumerate(pairwise([0, *ends.tolist()])):
            file = self._temporary / shard_name(number)
            same = None if store is None else whole_shard(known[begin:end], store.ends)
            if store is not None and same is not None:
                link_shard(store.directory / shard_name(same), file)
                continue
            with file.open("wb") as shard:
                shard.truncate((end - begin) * self.row_bytes)
            if store is not None:
                self._copies.append(self._copier.submit(copy_rows, store, known[begin:end], file))

    def append(self, images: npt.NDArray[np.uint8]) -> None:
        """Add ``(n, C, H, W)`` images after those already there."""
        if images.dtype != np.uint8 or images.shape[1:] != (self.channels, self.size, self.size):
            wanted = (self.channels, self.size, self.size)
            raise DataError(
                f"the store takes uint8 images {wanted}, not {images.dtype} {images.shape[1:]}"
            )
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
    ends: Rows
    row_bytes: int

    def put(self, rows: npt.NDArray[np.int64], images: npt.NDArray[np.uint8]) -> None:
        """Write images ``(n, C, H, W)`` to reserved ``rows``, ascending; neighbours in one go."""
        if not len(rows):
            return
        shard_of = np.searchsorted(self.ends, rows, side="right")
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(shard_of) != 0)) + 1
        for begin, end in pairwise([0, *breaks.tolist(), len(rows)]):
            number = int(shard_of[begin])
            row = int(rows[begin]) - (int(self.ends[number - 1]) if number else 0)
            with (self.directory / shard_name(number)).open("r+b") as file:
                file.seek(row * self.row_bytes)
                file.write(np.ascontiguousarray(images[begin:end]).data)


def copy_rows(store: PixelStore, known: Rows, shard: Path) -> None:
    """Write the rows ``known`` of a store (-1: none) to their places in a reserved shard,
    neighbours in one go, as bytes.
    """
    row_bytes = int(np.prod(store.shape[1:]))
    rows = np.flatnonzero(known >= 0)
    shard_of = np.searchsorted(store.ends, known[rows], side="right")
    breaks = (
        np.flatnonzero(
            (np.diff(rows) != 1) | (np.diff(known[rows]) != 1) | (np.diff(shard_of) != 0)
        )
        + 1
    )
    for some in np.split(np.arange(len(rows)), breaks) if len(rows) else ():
        row, number, left = int(rows[some[0]]), int(shard_of[some[0]]), len(some) * row_bytes
        with (
            shard.open("r+b") as target,
            (store.directory / shard_name(number)).open("rb") as source,
        ):
            target.seek(row * row_bytes)
            source.seek((int(known[row]) - store.begin(number)) * row_bytes)
            while left and (piece := source.read(min(left, PIECE))):
                target.write(piece)
                left -= len(piece)


def index_of(ends: Rows, levels: Levels) -> dict[str, Any]:
    """What the index of a store says of where its shards end, and of 16-bit values where not all
    their range was used.
    """
    return {
        "format": 2,
        "ends": ends.tolist(),
        **({} if levels == FULL else {LEVELS: list(levels)}),
    }


def ends_of(index: dict[str, Any]) -> Rows:
    """The row after the last of each shard; shards of the first format have equal lengths."""
    return (
        even_ends(index["rows"], index["shard_rows"])
        if index["format"] == 1
        else np.array(index["ends"], np.int64)
    )


def link_shards(source: Path, target: Path) -> None:
    """Links to all shards of a store in an empty directory."""
    for file in sorted(source.iterdir()):
        if file.suffix in SHARDS:
            link_shard(file, target / file.name)


def link_shard(source: Path, target: Path) -> None:
    """A hard link to a shard, not to a link that DVC put in its place; a copy where links cannot be
    made.
    """
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


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
