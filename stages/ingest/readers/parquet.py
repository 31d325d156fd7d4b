"""Parquet files of images, as Hugging Face lays them out: a column ``image`` of bytes (or ``{bytes,
path}``) and a ``label``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.data.sources import SPLITS, Source
from stages.core.errors import DataError
from stages.core.image.decode import Unreadable
from stages.core.params import Ingest
from stages.ingest.archive_hashes import member_hashes
from stages.ingest.listing import Entries
from stages.ingest.readers.folder import readable

Place = tuple[str, int, int]  # file, row group, row in it
IMAGE, LABEL = "image", "label"


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the rows; files named ``train-…``, ``validation-…`` or ``test-…`` give their split."""
    out = Entries([], [], [], [])
    handles: list[Place] = []
    counts: list[int] = []
    unlabelled: list[str] = []
    listing = source.listing
    for name in listing.files:
        path = listing.root / name
        file = _open(path)
        split = SPLITS.get(Path(name).stem.split("-")[0].lower())
        if source.role == "target" and not _has_labels(file):
            unlabelled.append(name)
        for number, label in enumerate(_labels(file)):
            out.uris.append(f"{readable(name)}/{number:08}")
            out.labels.append(label)
            out.splits.append(split)
        groups = (
            file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)
        )
        handles += [
            (str(path), group, row) for group, rows in enumerate(groups) for row in range(rows)
        ]
        counts.append(file.metadata.num_rows)
    contents = member_hashes(
        source, counts, lambda number: _images(listing.root / listing.files[number])
    )
    remarks = (
        (_why_unlabelled(listing.root / unlabelled[0], len(unlabelled)),) if unlabelled else ()
    )
    return Entries(out.uris, out.labels, out.splits, handles, contents, remarks=remarks)


def load(handle: Place) -> bytes:
    """The bytes of one image.

    Raises:
        Unreadable: the row has none (``datasets`` writes paths alone unless told otherwise), or its
            part of the file is damaged or gone.
    """
    path, group, row = handle
    try:
        content: bytes | None = _column(path, group)[row].as_py()
    except (pa.ArrowException, OSError, IndexError) as error:
        raise Unreadable(
            f"damaged: row group {group} of the file ({type(error).__name__})"
        ) from None
    if content is None:
        raise Unreadable("the row holds no bytes of an image")
    return content


def _images(path: Path) -> Iterator[bytes]:
    """The bytes of every image of a file."""
    try:
        file = pq.ParquetFile(path)
        for group in range(file.metadata.num_row_groups):
            for value in _bytes(file, group):
                yield value.as_py() or b""
    except (pa.ArrowException, OSError):
        return  # damaged: the rows stay unknown here and get their reason when they are loaded


@lru_cache(maxsize=1)
def _column(path: str, group: int) -> pa.Array:
    """The image bytes of one row group: neighbours are loaded together."""
    return _bytes(pq.ParquetFile(path), group)


def _bytes(file: pq.ParquetFile, group: int) -> pa.Array:
    column = file.read_row_group(group, columns=[IMAGE]).column(0).combine_chunks()
    return column.field("bytes") if pa.types.is_struct(column.type) else column


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from None
    schema = file.schema_arrow
    kind = schema.field(IMAGE).type if IMAGE in schema.names else None
    if kind is not None and pa.types.is_struct(kind):
        kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else None
    if kind is None or not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(f"{path} has no column {IMAGE!r} of image bytes; it has {_columns(file)}")
    return file


def _columns(file: pq.ParquetFile) -> str:
    return ", ".join(
        f"{field.name} ({'struct' if pa.types.is_struct(field.type) else field.type})"
        for field in file.schema_arrow
    )


def _has_labels(file: pq.ParquetFile) -> bool:
    schema = file.schema_arrow
    return LABEL in schema.names and not pa.types.is_nested(schema.field(LABEL).type)


def _why_unlabelled(path: Path, files: int) -> str:
    """A column under another name, or of lists, is a mistake more often than not."""
    others = f" and {files - 1} more" if files > 1 else ""
    return (
        f"{path}{others}: no label is read, as there is no column {LABEL!r} of text or numbers; it"
        f" has {_columns(_open(path))}"
    )


def _labels(file: pq.ParquetFile) -> Iterator[str | None]:
    """Labels as text: by name where the file carries Hugging Face's list of names. Empty, -1 and
    NaN are no label.
    """
    schema = file.schema_arrow
    if not _has_labels(file):
        yield from [None] * file.metadata.num_rows
        return
    features: Any = (
        json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        .get("info", {})
        .get("features", {})
    )
    names = features.get(LABEL, {}).get("names")
    for batch in file.iter_batches(columns=[LABEL]):
        for value in batch.column(0).to_pylist():
            if isinstance(value, float) and value.is_integer():
                value = int(value)  # pandas makes whole numbers with gaps floats
            known = names is not None and isinstance(value, int) and 0 <= value < len(names)
            nothing = value is None or value in (-1, "") or value != value
            yield None if nothing else str(names[value]) if known else str(value)
