"""``rootstock search``: the images most like a given one, by exact cosine of their vectors."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows.registry.versions import ModelVersion
from flows.serving.embed import embedded, title
from flows.serving.predict import find_images
from flows.serving.sources import FileImages, Images, Pixels, PoolImages, printable
from stages.core import paths
from stages.core.errors import DataError
from stages.core.image.decode import Unreadable
from stages.core.io import atomic_file, write_text
from stages.core.models.batch_inference import LoadedModel
from stages.core.progress import aside

Array = NDArray[np.float32]
TEMPLATE = Path(__file__).with_name("search.html")
KEPT = paths.CACHE / "search"
"""Vectors of the pool, one file for each model and state of the data; the latest four stay."""
KEPT_FILES = 4
SHOWN = ("uri", "image", "label", "split", "keep")
"""Columns of the table, where there are such."""


@dataclass(frozen=True)
class Found:
    """Nearest images to one image, the most similar first.

    Attributes:
        rows: ``cosine`` and, of the pool, columns of the manifest; else ``image``, the file.
        pixels: of the nearest images (k, C, H, W), as the model sees them.
    """

    image: str
    model: str
    rows: pd.DataFrame
    query: Pixels
    pixels: Pixels


def search(
    version: ModelVersion,
    model: LoadedModel,
    image: Path | bytes | NDArray[Any],
    k: int,
    folder: Path | None = None,
) -> Found:
    """Find the ``k`` images of the pool, or of a folder, with the highest cosine.

    Raises:
        ConfigError: the folder does not exist or has no image.
        DataError: the image cannot be read, or the pool is missing or of another size.
    """
    name = printable(image) if isinstance(image, Path) else "the image given"
    try:
        query = model.read(image)
    except Unreadable as error:
        raise DataError(f"{name}: {error}") from None
    with aside():
        if folder is None:
            pool = PoolImages(model, title(version))
            images: Images = pool
            about, features = pool_vectors(version, model, pool)
        else:
            images = FileImages(find_images([folder]), model)
            about, features = _collected(model, images)
    if not len(about):
        raise DataError(f"none of the {len(images)} images in {folder} can be read")
    cosine = _unit(features) @ _unit(model.features(query[None]))[0]
    best = np.argsort(-cosine, kind="stable")[:k]
    rows = about.iloc[best]
    pixels = images.pixels(rows)
    ranked = rows.reset_index(drop=True)
    ranked.insert(0, "cosine", cosine[best].astype(float))
    return Found(name, title(version), ranked, query, pixels)


def text(found: Found) -> str:
    """Return the rows as a table."""
    columns = [name for name in SHOWN if name in found.rows]
    cells = [["cosine", *columns]]
    for row in found.rows.to_dict("records"):
        shown = ["" if row[name] is None else printable(str(row[name])) for name in columns]
        cells.append([f"{row['cosine']:.4f}", *shown])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (zip(line, widths, strict=True) for line in cells)
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in line).rstrip() for line in lines
    )


def as_json(found: Found) -> str:
    """Return image, model and rows for other programs."""
    rows = [
        {
            str(key): printable(value) if isinstance(value, str) else value
            for key, value in row.items()
        }
        for row in found.rows.to_dict("records")
    ]
    return json.dumps({"image": found.image, "model": found.model, "nearest": rows}, indent=2)


def write_page(found: Found, path: Path) -> None:
    """Write thumbnails and rows as one page that needs no other file and no network."""
    from jinja2 import Environment

    hits = [
        {
            "source": thumbnail(pixels),
            "cosine": f"{row['cosine']:.4f}",
            "name": printable(str(row.get("uri", row.get("image")))),
            "facts": [
                (key, printable(str(value)))
                for key, value in row.items()
                if key not in ("cosine", "uri", "image") and value is not None
            ],
        }
        for row, pixels in zip(found.rows.to_dict("records"), found.pixels, strict=True)
    ]
    template = Environment(autoescape=True).from_string(TEMPLATE.read_text())
    page = template.render(
        image=found.image, model=found.model, query=thumbnail(found.query), hits=hits
    )
    write_text(path, page)


def pool_vectors(
    version: ModelVersion, model: LoadedModel, images: PoolImages
) -> tuple[pd.DataFrame, Array]:
    """Rows of the pool and their vectors, which are kept for the next search."""
    state = hashlib.sha256(version.digest.encode())
    state.update("\n".join(images.about["id"]).encode())
    file = KEPT / f"{state.hexdigest()}.npy"
    if file.is_file():
        try:
            kept: Array = np.load(file, mmap_mode="r", allow_pickle=False)
            if kept.shape == (len(images), model.num_features):
                file.touch()
                return images.about, kept
        except (OSError, ValueError):  # damaged: it is written again
            pass
    about, features = _collected(model, images)
    with atomic_file(file) as temporary, temporary.open("wb") as opened:
        np.save(opened, features, allow_pickle=False)
    by_age = sorted(KEPT.glob("*.npy"), key=lambda one: one.stat().st_mtime)
    for old in by_age[:-KEPT_FILES]:
        old.unlink(missing_ok=True)
    return about, features


def _collected(model: LoadedModel, images: Images) -> tuple[pd.DataFrame, Array]:
    parts: Sequence[tuple[pd.DataFrame, Array]] = list(embedded(model, images))
    if not parts:
        return pd.DataFrame(), np.empty((0, model.num_features), np.float32)
    return pd.concat([about for about, _ in parts]), np.concatenate([part for _, part in parts])


def _unit(features: Array) -> Array:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: Array = features / np.maximum(norms, 1e-12)
    return scaled


def thumbnail(pixels: Pixels) -> str:
    """Pixels (C, H, W) as the address of an embedded picture."""
    from PIL import Image

    picture = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
