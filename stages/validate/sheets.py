"""Contact sheets: what the images of a finding look like, on one page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from stages.core.data.manifest import Rows
from stages.core.io import atomic_file
from stages.validate.audit import Pool

COLUMNS = 8
MOST = 48
TILE = 96
CAPTION = 24
LETTERS = 15


def sheet_name(check: str) -> str:
    """A file name for a check: ``no-image-is-in-two-splits.png``."""
    return re.sub(r"[^a-z0-9]+", "-", check.lower()).strip("-")[:60] + ".png"


def write_sheet(pool: Pool, rows: Rows, path: Path) -> bool:
    """Draw up to 48 of the rows with pixels, in order, each over the end of its uri, label and
    split; False if none.
    """
    rows = rows[pool.manifest.ok[rows]][:MOST]
    if not len(rows):
        return False
    height = TILE + CAPTION
    page = Image.new("RGB", (COLUMNS * TILE, -(-len(rows) // COLUMNS) * height), "white")
    pen = ImageDraw.Draw(page)
    for number, (row, image) in enumerate(zip(rows.tolist(), pool.store.array(rows), strict=True)):
        left, top = number % COLUMNS * TILE, number // COLUMNS * height
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
        page.paste(
            picture.resize((TILE - 4, TILE - 4), Image.Resampling.NEAREST), (left + 2, top + 2)
        )
        pen.text((left + 3, top + TILE - 2), _printable(shortened(pool.uri(row))), fill="black")
        label, split = pool.manifest.frame[["label", "split"]].iloc[row]
        words = f"{label}, {split}" if isinstance(label, str) else "no label"
        pen.text((left + 3, top + TILE + 9), _printable(words[:LETTERS]), fill="gray")
    with atomic_file(path) as temporary:
        page.save(temporary, "PNG")
    return True


def shortened(uri: str) -> str:
    """The end of a uri that fits under a picture, cut between folders where it can be."""
    parts = re.split(r"(?<=[/:])", uri)
    fitting = ["".join(parts[first:]) for first in range(len(parts))]
    return next((end for end in fitting if len(end) <= LETTERS), uri[-LETTERS:])


def _printable(text: str) -> str:
    """What the built-in font can draw."""
    return text.encode("latin-1", "replace").decode("latin-1")
