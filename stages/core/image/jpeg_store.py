"""The other pixel store: the same images as JPEG, a tenth of the room, decoded by several threads
when they are asked for.

Lossy, so a store is written once from decoded images and never from another store. Which threads
decode what changes nothing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.core.data.shards import Rows, even_ends, whole_shard
from stages.core.errors import DataError
from stages.core.image.jpeg_decoder import plain_jpeg
from stages.core.image.pixel_store import (
    INDEX,
    PixelStore,
    ends_of,
    index_of,
    link_shard,
    map_shard,
)
from stages.core.io import atomic_directory, write_json
from stages.core.sixteen import FULL

OFFSETS = "offsets.npy"
QUALITY = 95
SHARD_BYTES = 256 << 20
TOGETHER = 16
"""Images a thread decodes at a time."""


class JpegStore(PixelStore):
    """Read-only uint8 images ``(N, C, H, W)``, decoded as they are gathered.

    Attributes:
        workers: threads that decode.
    """

    def __init__(
        self,
        shards: list[npt.NDArray[np.uint8]],
        ends: Rows,
        shape: tuple[int, int, int, int],
        offsets: npt.NDArray[np.int64],
        directory: Path,
    ) -> None:
        super().__init__(shards, ends, shape, directory)
        self.offsets = offsets
        self.workers = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )

    @classmethod
    def of(cls, directory: Path, index: dict[str, Any]) -> JpegStore:
        """Map the shards that ``index`` describes.

        Raises:
            DataError: the offsets or a shard are missing or have the wrong length.
        """
        rows, channels, size, ends = index["rows"], index["channels"], index["size"], ends_of(index)
        try:
            stops = np.load(directory / OFFSETS, allow_pickle=False)
        except (OSError, ValueError):
            stops = np.empty(0, np.int64)
        if len(stops) != rows:
            raise DataError(
                f"{directory / OFFSETS} does not list {rows:,} images: run ingest again"
            )
        offsets = np.concatenate([[0], stops]).astype(np.int64)
        lengths = np.diff(offsets[ends], prepend=0).tolist()
        shards = [
            map_shard(directory / shard_name(number), (length,))
            for number, length in enumerate(lengths)
        ]
        return cls(shards, ends, (rows, channels, size, size), offsets, directory)

    def array(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The images of ``rows`` (any order, repeats allowed) as a new array ``(n, C, H, W)``."""
        self._check(rows)
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def some(first: int) -> None:
            for place in range(first, min(first + TOGETHER, len(rows))):
                out[place] = self._image(int(rows[place]))

        starts = range(0, len(rows), TOGETHER)
        if self.workers > 1 and len(starts) > 1:
            with ThreadPoolExecutor(self.workers) as pool:
                list(pool.map(some, starts))
        else:
            for start in starts:
                some(start)
        return out

    def encoded(self, row: int) -> bytes:
        """The JPEG file of one image."""
        number = self._shard_of(row)
        begin = self.offsets[self.begin(number)]
        return self.shards[number][
            self.offsets[row] - begin : self.offsets[row + 1] - begin
        ].tobytes()

    def _shard_of(self, row: int) -> int:
        return int(np.searchsorted(self.ends, row, side="right"))

    def _image(self, row: int) -> npt.NDArray[np.uint8]:
        number, content = self._shard_of(row), self.encoded(row)
        pixels = plain_jpeg(content, self.shape[2] * self.shape[3])
        try:
            if pixels is None:
                with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
                    pixels = np.asarray(image)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.directory / shard_name(number)}: the image of row {row} is damaged"
                f" ({error})"
            ) from None
        channels, height, width = self.shape[1:]
        found = pixels.reshape(pixels.shape[0], pixels.shape[1], -1)
        if found.shape != (height, width, channels):
            raise DataError(
                f"{self.directory / shard_name(number)}: row {row} is {found.shape}, not"
                f" {(height, width, channels)}"
            )
        return found.transpose(2, 0, 1)


class JpegWriter:
    """As :class:`~stages.core.image.pixel_store.PixelWriter`: all of it appears at the end."""

    def __init__(
        self, directory: Path | str, channels: int, size: int, shard_bytes: int = SHARD_BYTES
    ) -> None:
        self.channels, self.size = channels, size
        self.shard_rows = max(1, shard_bytes // (channels * size * size))
        self.stops: list[int] = []
        """The byte after the last of each image."""
        self._ends: Rows | None = None
        self.levels = FULL
        self._at = self._end = self._shards = 0
        self._whole = atomic_directory(Path(directory))
        self._file: Any = None

    def __enter__(self) -> JpegWriter:
        self._temporary = self._whole.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        if kind is None:
            np.save(self._temporary / OFFSETS, np.asarray(self.stops, np.int64), allow_pickle=False)
            ends = even_ends(len(self.stops), self.shard_rows) if self._ends is None else self._ends
            fields = {
                "rows": len(self.stops),
                "channels": self.channels,
                "size": self.size,
                **index_of(ends, self.levels),
            }
            write_json(self._temporary / INDEX, {"kind": "jpeg", "quality": QUALITY, **fields})
        self._whole.__exit__(kind, error, trace)

    def append(self, images: npt.NDArray[np.uint8]) -> None:
        """Add ``(n, C, H, W)`` uint8 images after those already there."""
        if images.dtype != np.uint8 or images.shape[1:] != (self.channels, self.size, self.size):
            wanted = (self.channels, self.size, self.size)
            raise DataError(
                f"the store takes uint8 images {wanted}, not {images.dtype} {images.shape[1:]}"
            )
        self.append_encoded(map(encode, images))

    def reserve(self, ends: Rows) -> None:
        """Let shards end at these rows."""
        self._ends = ends

    def append_encoded(self, contents: Iterable[bytes]) -> None:
        """The same of images that :func:`encode` was given already."""
        for content in contents:
            if len(self.stops) == self._end:
                self._next_shard()
            self._file.write(content)
            self._at += len(content)
            self.stops.append(self._at)

    def append_known(self, end: int, known: Rows, store: JpegStore) -> None:
        """The images up to row ``end``, which are those of rows ``known[…]`` of another store;
        whole shards of it are linked.
        """
        while (row := len(self.stops)) < end:
            last = (
                int(self._ends[self._shards])
                if self._ends is not None and row == self._end
                else end + 1
            )
            same = whole_shard(known[row:last], store.ends) if last <= end else None
            if same is None:
                self.append_encoded([store.encoded(int(known[row]))])
                continue
            link_shard(
                store.directory / shard_name(same), self._temporary / shard_name(self._shards)
            )
            stops = (
                self._at
                + store.offsets[1 + store.begin(same) : 1 + int(store.ends[same])]
                - store.offsets[store.begin(same)]
            )
            self.stops += stops.tolist()
            self._at, self._end, self._shards = self.stops[-1], last, self._shards + 1

    def _next_shard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = (self._temporary / shard_name(self._shards)).open("wb")
        self._end = (
            len(self.stops) + self.shard_rows
            if self._ends is None
            else int(self._ends[self._shards])
        )
        self._shards += 1


def encode(image: npt.NDArray[np.uint8]) -> bytes:
    """JPEG of ``(C, H, W)``, colours not subsampled."""
    buffer = io.BytesIO()
    picture = Image.fromarray(
        image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    )
    picture.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def shard_name(number: int) -> str:
    """``00000.jpgs`` and so on: JPEG files end to end."""
    return f"{number:05}.jpgs"
