"""Parquet files of images, as Hugging Face lays them out: a column of bytes (or ``{bytes, path}``)
and one of labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.data.sources import Source
from stages.core.errors import DataError
from stages.core.image.decode import Unreadable
from stages.core.layout import UNLABELLED, splits_of_containers
from stages.core.sections import Ingest
from stages.core.splits import choice_of, read, read_level
from stages.ingest.archive_hashes import member_hashes
from stages.ingest.columns import choose, class_names, described
from stages.ingest.listing import Entries
from stages.ingest.places import container_names, looks_like_splits, readable, settled

Place = tuple[str, int, int, str]  # file, row group, row in it, column


def entries(source: Source, ingest: Ingest) -> Entries:
    """List the rows. Splits come from a column, else from the names of the files and their
    folders.
    """
    listing = source.listing
    by_file, how, looks = splits_of_containers(listing.files, ingest.splits)
    uris, labels, found, handles, images, counts = [], [], [], [], [], []
    remarks: list[str] = []
    unlabelled: list[str] = []
    values: set[str] = set()
    by_column: str | None = None
    for name, split in zip(listing.files, by_file, strict=True):
        path = listing.root / name
        file = _open(path)
        rows, schema = file.metadata.num_rows, file.schema_arrow
        chosen = choose(schema, ingest.columns, path)
        remarks += [remark for remark in chosen.remarks if remark not in remarks]
        if chosen.label is None and not chosen.remarks:
            unlabelled.append(name)
        given, named, more = _given(file, chosen.split, ingest)
        by_column, values = chosen.split if any(given) else by_column, values | named
        remarks += [remark for remark in more if remark not in remarks]
        uris += [f"{readable(name)}/{number:08}" for number in range(rows)]
        labels += _texts(file, chosen.label)
        found += [own or split for own in given]
        groups = (
            file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)
        )
        handles += [
            (str(path), group, row, chosen.image)
            for group, rows in enumerate(groups)
            for row in range(rows)
        ]
        images.append(chosen.image)
        counts.append(rows)
    splits, apart = settled(found)
    contents = member_hashes(
        source, counts, lambda number: _images(listing.root / listing.files[number], images[number])
    )
    if unlabelled:
        remarks.append(_why_unlabelled(listing.root / unlabelled[0], len(unlabelled)))
    said = (*remarks, *looks_like_splits(looks), *_packed(listing.ignored))
    return Entries(
        uris,
        [
            None if split == UNLABELLED else label
            for split, label in zip(found, labels, strict=True)
        ],
        splits,
        handles,
        contents,
        ignored=listing.ignored,
        remarks=said if source.role == "target" else (),
        given=f"column {by_column!r}" if by_column else how,
        apart=apart,
        names=container_names(listing.files) | frozenset(values),
    )


def load(handle: Place) -> bytes:
    """The bytes of one image.

    Raises:
        Unreadable: the row has none (``datasets`` writes paths alone unless told otherwise), or its
            part of the file is damaged or gone.
    """
    path, group, row, column = handle
    try:
        content: bytes | None = _column(path, group, column)[row].as_py()
    except (pa.ArrowException, OSError, IndexError) as error:
        raise Unreadable(
            f"damaged: row group {group} of the file ({type(error).__name__})"
        ) from None
    if content is None:
        raise Unreadable("the row holds no bytes of an image")
    return content


def _images(path: Path, column: str) -> Iterator[bytes]:
    """The bytes of every image of a file."""
    try:
        file = pq.ParquetFile(path)
        for group in range(file.metadata.num_row_groups):
            for value in _bytes(file, group, column):
                yield value.as_py() or b""
    except (pa.ArrowException, OSError):
        return  # damaged: the rows stay unknown here and get their reason when they are loaded


@lru_cache(maxsize=1)
def _column(path: str, group: int, column: str) -> pa.Array:
    """The image bytes of one row group: neighbours are loaded together."""
    return _bytes(pq.ParquetFile(path), group, column)


def _bytes(file: pq.ParquetFile, group: int, name: str) -> pa.Array:
    column = file.read_row_group(group, columns=[name]).column(0).combine_chunks()
    return column.field("bytes") if pa.types.is_struct(column.type) else column


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from None


def _why_unlabelled(path: Path, files: int) -> str:
    """A column under another name, or of lists, is a mistake more often than not."""
    others = f" and {files - 1} more" if files > 1 else ""
    has = described(_open(path).schema_arrow)
    return (
        f"{path}{others}: no label is read, as there is no column 'label' of text or numbers; it"
        f" has {has}; ingest.columns: {{label: NAME}} names one"
    )


def _packed(ignored: dict[str, int]) -> tuple[str, ...]:
    """What to say about tables beside the others that are packed or of another kind."""
    found = {
        kind: count
        for kind, count in ignored.items()
        if kind in {".gz", ".zst", ".arrow", ".feather"}
    }
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found.items())
    return (f"only Parquet files are read, not {counts}",) if found else ()


def _given(
    file: pq.ParquetFile, column: str | None, ingest: Ingest
) -> tuple[list[str | None], set[str], list[str]]:
    """The split each row gives, the values of the column, and what to say where they are no
    splits.
    """
    rows = file.metadata.num_rows
    if column is None:
        return [None] * rows, set(), []
    values = _texts(file, column)
    names = {value for value in values if value is not None}
    level = read_level(names, ingest.splits)
    given = level.given if level is not None and not level.rest else {}
    given |= {
        name: choice
        for name in names
        if (choice := choice_of(name, ingest.splits)) not in (None, "class")
    }
    unread = sorted(names - given.keys())
    said = []
    if unread and (
        given or column.lower() in ("split", "splits") or any(read(name).split for name in unread)
    ):
        said.append(
            f"column {column!r} looks like a split, and {', '.join(map(repr, unread[:3]))} in it is"
            f" not used as one; ingest.splits: {{{unread[0]}: test}} (train, val, unlabelled) says"
            " what it means"
        )
    return [None if value is None else given.get(value) for value in values], names, said


def _texts(file: pq.ParquetFile, column: str | None) -> list[str | None]:
    """Labels as text: by name where the file carries Hugging Face's list of names. Empty, -1 and
    NaN are no label.
    """
    if column is None:
        return [None] * file.metadata.num_rows
    names = class_names(file.schema_arrow, column)
    return [
        _text(value, names)
        for batch in file.iter_batches(columns=[column])
        for value in batch.column(0).to_pylist()
    ]


def _text(value: Any, names: list[str] | None) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas makes whole numbers with gaps floats
    if value is None or value in (-1, "") or value != value:
        return None
    known = names is not None and isinstance(value, int) and 0 <= value < len(names)
    return str(names[value]) if names is not None and known else str(value)
