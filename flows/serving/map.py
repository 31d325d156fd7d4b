"""``rootstock map``: the pool's images as points, like ones near each other, on one page."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows.serving.embed import open_model, title
from flows.serving.search import pool_vectors
from flows.serving.sources import PoolImages, printable
from stages.core.io import write_text
from stages.core.params import load_params
from stages.core.progress import Progress, aside
from stages.core.random import numpy_generator

TEMPLATE = Path(__file__).with_name("map.html")
MOST = 50_000
"""Points on a page at most; of more images a seeded sample is drawn."""
SIDE, SMALL_SIDE, MANY = 32, 16, 8_000
"""Pixels a side of the pictures shown, and of more images than :data:`MANY`."""
GRID = 65_535
"""Steps of a coordinate, 16 bits."""
COLOURS = ("label", "split", "source", "keep", "group")
"""Columns of the manifest that points are coloured by, where they differ."""
Points = NDArray[np.float64]


def write_map(reference: str, layout: str, page: Path) -> str:
    """Write the page and return a sentence about it.

    Raises:
        ConfigError: the model does not exist.
        DataError: the pool is missing or of another size.
    """
    from jinja2 import Environment

    version, model = open_model(reference)
    with aside():
        images = PoolImages(model, title(version))
        about, features = pool_vectors(version, model, images)
        seed, rows = load_params().seed, np.arange(len(about))
        if len(rows) > MOST:
            rows = np.sort(numpy_generator(seed, "map").choice(rows, MOST, replace=False))
        about = about.iloc[rows]
        points = place(np.asarray(features)[rows].astype(np.float64), layout, seed)
        data = {**_table(about), **_coordinates(points), **_pictures(images, about)}
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    template = Environment(autoescape=True).from_string(TEMPLATE.read_text())
    write_text(page, template.render(data=text, model=title(version), count=len(about)))
    return f"{len(about):,} images by {layout} of {title(version)} in {page}"


def place(features: Points, layout: str, seed: int) -> Points:
    """Return a place (n, 2) for each feature vector (n, D): principal components, or t-SNE.

    Paper: Visualizing Data using t-SNE, 2008.
    """
    from sklearn.decomposition import PCA

    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    if min(unit.shape) < 2:
        return np.zeros((len(unit), 2))
    if layout == "tsne" and len(unit) > 5:
        from sklearn.manifold import TSNE

        reduced = PCA(min(50, *unit.shape), random_state=seed).fit_transform(unit)
        nearby = min(30.0, (len(unit) - 1) / 3)
        found: Points = TSNE(init="pca", perplexity=nearby, random_state=seed).fit_transform(
            reduced
        )
        return found
    components: Points = PCA(2, random_state=seed).fit_transform(unit)
    return components


def _table(about: pd.DataFrame) -> dict[str, Any]:
    """Return ids, names and the columns that points can be coloured by, as numbers into names."""
    columns = []
    for name in COLOURS:
        if name not in about:
            continue
        texts = ["none" if value is None or value != value else str(value) for value in about[name]]
        names = sorted(set(texts), key=lambda text: (text == "none", text))
        if len(names) > 1:
            index = {text: number for number, text in enumerate(names)}
            columns.append(
                {"name": name, "names": names, "values": [index[text] for text in texts]}
            )
    uris = [printable(str(uri)) for uri in about["uri"]]
    return {"ids": about["id"].tolist(), "uris": uris, "columns": columns}


def _coordinates(points: Points) -> dict[str, str]:
    """Return x and y as 16-bit numbers in base64, one scale for both."""
    low, span = points.min(axis=0), float(np.ptp(points, axis=0).max()) or 1.0
    steps = ((points - low) / span * GRID).round().astype("<u2")
    return {
        name: base64.b64encode(steps[:, axis].tobytes()).decode() for axis, name in enumerate("xy")
    }


def _pictures(images: PoolImages, about: pd.DataFrame) -> dict[str, Any]:
    """Return one JPEG with all pictures in rows, and their number in a row."""
    from PIL import Image

    side = SIDE if len(about) <= MANY else SMALL_SIDE
    across = math.ceil(math.sqrt(len(about)))
    sheet = Image.new("RGB", (across * side, math.ceil(len(about) / across) * side))
    with Progress("pictures", len(about), "images") as bar:
        for number in range(len(about)):
            pixels = images.pixels(about.iloc[number : number + 1])[0]
            shown = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
            picture = Image.fromarray(np.ascontiguousarray(shown)).convert("RGB")
            at = (number % across * side, number // across * side)
            sheet.paste(picture.resize((side, side)), at)
            bar.advance(1)
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=75)
    return {
        "sheet": f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}",
        "side": side,
        "across": across,
    }
