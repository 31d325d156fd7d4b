"""Columns of Parquet files: which holds the images, which the labels and which the splits, where it
is clear.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stages.core.errors import DataError
from stages.core.sections import Columns

IMAGES = ("image", "img", "images", "picture", "photo", "jpg", "png", "jpeg", "webp", "bytes")
LABELS = (
    *("label", "labels", "class", "target", "category", "fine_label", "coarse_label", "classes"),
    *("class_label", "class_name", "label_name", "targets", "y", "cls", "species"),
)
SPLITS = ("split", "splits", "subset", "partition", "set", "fold")


@dataclass(frozen=True)
class Chosen:
    """The columns of one file, and what to say of columns that were guessed or could not be."""

    image: str
    label: str | None
    split: str | None
    remarks: tuple[str, ...]


def choose(schema: pa.Schema, wanted: Columns, where: object) -> Chosen:
    """Take the columns ``ingest.columns`` names, those with the usual names, or the only ones that
    can be meant.

    Raises:
        DataError: there is no column of image bytes, several may be, or the one named is none.
    """
    remarks: list[str] = []
    image = _image(schema, wanted.image, where)
    if image != (wanted.image or "image"):
        remarks.append(
            f"images are taken from the column {image!r} (ingest.columns: {{image: {image}}})"
        )
    label = _label(schema, wanted.label, where, remarks)
    split = (
        _named(schema, wanted.split, where)
        if wanted.split
        else next(
            (name for name in schema.names if name.lower() in SPLITS and _is_text(schema, name)),
            None,
        )
    )
    return Chosen(image, label, split, tuple(remarks))


def class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """The names of a column's numbers, where the file carries them as Hugging Face writes them."""
    names: list[str] | None = _features(schema).get(column, {}).get("names")
    return names


def described(schema: pa.Schema) -> str:
    """All columns with their types."""
    return ", ".join(
        f"{field.name} ({'struct' if pa.types.is_struct(field.type) else field.type})"
        for field in schema
    )


def _image(schema: pa.Schema, wanted: str | None, where: object) -> str:
    fitting: list[str] = [name for name in schema.names if _holds_bytes(schema.field(name).type)]
    if wanted is not None:
        if wanted in fitting:
            return wanted
        raise DataError(
            f"{where} has no column {wanted!r} of image bytes (ingest.columns); it has"
            f" {described(schema)}"
        )
    if "image" in fitting:
        return "image"
    usual = [name for name in fitting if name.lower() in IMAGES]
    if len(usual or fitting) == 1:
        return (usual or fitting)[0]
    if fitting:
        raise DataError(
            f"{where} has several columns of bytes, {', '.join(fitting)}: name that of the images, "
            f"ingest.columns: {{image: {fitting[0]}}}"
        )
    raise DataError(f"{where} has no column 'image' of image bytes; it has {described(schema)}")


def _label(schema: pa.Schema, wanted: str | None, where: object, remarks: list[str]) -> str | None:
    if wanted is not None:
        return _named(schema, wanted, where)
    flat: list[str] = [
        name for name in schema.names if not pa.types.is_nested(schema.field(name).type)
    ]
    if "label" in flat:
        return "label"
    features = _features(schema)
    named = [name for name in flat if features.get(name, {}).get("_type") == "ClassLabel"]
    usual = [
        name
        for name in flat
        if name.lower() in LABELS and not _holds_bytes(schema.field(name).type)
    ]
    fitting = list(dict.fromkeys([*named, *usual]))
    if len(fitting) == 1 and "label" not in schema.names:
        remarks.append(
            f"labels are taken from the column {fitting[0]!r} (ingest.columns: {{label:"
            f" {fitting[0]}}})"
        )
        return fitting[0]
    if fitting:
        remarks.append(
            f"no label is read, as {' and '.join(map(repr, fitting))} may both be meant: "
            f"ingest.columns: {{label: {fitting[0]}}} names one"
        )
    return None


def _named(schema: pa.Schema, wanted: str, where: object) -> str:
    if wanted in schema.names and not pa.types.is_nested(schema.field(wanted).type):
        return wanted
    raise DataError(
        f"{where} has no column {wanted!r} of text or numbers (ingest.columns); it has"
        f" {described(schema)}"
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(schema: pa.Schema, name: str) -> bool:
    kind = schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(text or class_names(schema, name))


def _features(schema: pa.Schema) -> dict[str, Any]:
    found: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features: Any = found.get("info", {}).get("features", {})
    return {name: one for name, one in features.items() if isinstance(one, dict)}
