"""Vector files: features written as Parquet, NumPy or CSV while they are computed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows.serving.sources import printable
from stages.core.errors import ConfigError
from stages.core.io import atomic_file

Array = NDArray[np.float32]


class Sink(Protocol):
    """Open vector file."""

    def add(self, about: pd.DataFrame, features: Array) -> None:
        """Append vectors (n, D) and the rows (n) about their images."""


def check(path: Path) -> None:
    """Refuse a file name whose ending names no format, and a folder.

    Raises:
        ConfigError: the message names the endings there are.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--to {path.name}: the name must end in {', '.join(FORMATS)}")
    if path.is_dir():
        raise ConfigError(f"--to {path} is a folder: name a file in it")


@contextmanager
def open_vectors(path: Path, width: int, facts: Mapping[str, str]) -> Iterator[Sink]:
    """Yield a file to append to; it takes its name once everything is written.

    Args:
        width: length D of a vector.
        facts: text about the model, kept in the schema of a Parquet file.
    """
    with ExitStack() as stack:
        yield FORMATS[path.suffix.lower()](stack, path, width, facts)


class _Parquet:
    """Columns about the image, and ``features`` as a list of fixed length."""

    def __init__(self, stack: ExitStack, path: Path, width: int, facts: Mapping[str, str]) -> None:
        self.stack, self.width, self.facts = stack, width, dict(facts)
        self.file = stack.enter_context(atomic_file(path))
        self.schema: Any = None
        self.writer: Any = None

    def add(self, about: pd.DataFrame, features: Array) -> None:
        """Append one row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.writer is None or self.schema is None:
            kinds = {name: pa.bool_() if name == "keep" else pa.string() for name in about}
            kinds["features"] = pa.list_(pa.float32(), self.width)
            self.schema = pa.schema(kinds, metadata=self.facts)
            self.writer = self.stack.enter_context(pq.ParquetWriter(self.file, self.schema))
        columns = [
            pa.array(_texts(about[name]), field.type)
            for name, field in zip(about, self.schema, strict=False)
        ]
        flat = pa.array(np.ascontiguousarray(features, np.float32).ravel())
        columns.append(pa.FixedSizeListArray.from_arrays(flat, self.width))
        self.writer.write_table(pa.table(columns, schema=self.schema))


class _Csv:
    """Columns about the image, then ``features.0``, ``features.1``, …"""

    def __init__(self, stack: ExitStack, path: Path, width: int, facts: Mapping[str, str]) -> None:
        temporary = stack.enter_context(atomic_file(path))
        file = stack.enter_context(temporary.open("w", newline="", encoding="utf-8"))
        self.rows, self.width, self.begun = csv.writer(file, lineterminator="\n"), width, False

    def add(self, about: pd.DataFrame, features: Array) -> None:
        """Append one line for each image."""
        if not self.begun:
            self.rows.writerow([*about, *(f"features.{place}" for place in range(self.width))])
            self.begun = True
        texts = [_texts(about[name]) for name in about]
        for row, vector in zip(zip(*texts, strict=True), features, strict=True):
            # the shortest text that reads back to the same float32
            self.rows.writerow([*("" if cell is None else cell for cell in row), *map(str, vector)])


class _Npy:
    """One array (n, D), and beside it ``NAME.images.csv`` with the rows about the images."""

    def __init__(self, stack: ExitStack, path: Path, width: int, facts: Mapping[str, str]) -> None:
        # the file is closed, with its final header, before it takes its name
        temporary = stack.enter_context(atomic_file(path))
        self.about = _Csv(stack, path.with_name(f"{path.stem}.images.csv"), 0, facts)
        self.file = stack.enter_context(temporary.open("wb"))
        self.count, self.width = 0, width
        self._header()
        stack.callback(self._header)

    def _header(self) -> None:
        """Write the header for the rows there are; NumPy leaves room in it for a longer count."""
        self.file.seek(0)
        shape = (self.count, self.width)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)

    def add(self, about: pd.DataFrame, features: Array) -> None:
        """Append rows to the array."""
        self.file.write(np.ascontiguousarray(features, "<f4").tobytes())
        self.count += len(features)
        self.about.add(about, np.empty((len(about), 0), np.float32))


FORMATS: dict[str, Callable[[ExitStack, Path, int, Mapping[str, str]], Sink]] = {
    ".parquet": _Parquet,
    ".npy": _Npy,
    ".csv": _Csv,
}


def _texts(column: pd.Series) -> list[str | bool | None]:
    return [None if value is None or value != value else _plain(value) for value in column.tolist()]


def _plain(value: object) -> str | bool:
    return value if isinstance(value, bool) else printable(str(value))
