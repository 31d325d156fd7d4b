"""``rootstock label-next``: a table, a page and a folder of the images that are worth a label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.serving.embed import open_model, title
from flows.serving.search import pool_vectors, thumbnail
from flows.serving.sources import PoolImages, printable
from stages.core import paths
from stages.core.errors import DataError
from stages.core.io import atomic_directory, write_bytes, write_csv, write_text
from stages.core.params import load_params
from stages.core.progress import Progress

TEMPLATE = Path(__file__).with_name("label_next.html")
FOLDER = paths.reports("label-next")
COLUMNS = ("rank", "id", "uri", "new", "guess", "probability", "margin")
OPEN = ("train", "none")
"""Splits whose images may get a label: one of the test images would change what is measured."""
BATCH = 512


def label_next(count: int, strategy: str, encoder: str, classifier: str) -> str:
    """Choose images of the pool, write ``reports/label-next`` and return a sentence about it.

    Raises:
        ConfigError: a model does not exist.
        DataError: the pool is missing, or every image of it has a label.
    """
    from stages.core.transfer.label_choice import choose

    version, model = open_model(encoder)
    champion_version, champion = open_model(classifier)
    images = PoolImages(model, title(version))
    about, features = pool_vectors(version, model, images)
    kept = about["split"].isin(OPEN).to_numpy(bool)
    if "keep" in about:
        kept = kept & about["keep"].to_numpy(bool)
    rows, vectors = about[kept], np.asarray(features)[kept]
    labelled = rows["label"].notna().to_numpy(bool)
    if labelled.all():
        raise DataError(
            "every image that may be trained on has a label: there is nothing to choose"
        )
    guesses = _probabilities(champion, images, rows)
    count = min(count, int((~labelled).sum()))
    picked, new = choose(strategy, vectors, labelled, count, guesses, load_params().seed)
    chosen, pixels = rows.iloc[picked], images.pixels(rows.iloc[picked])
    top = np.sort(guesses[picked], axis=1)
    table = [
        {
            "rank": rank + 1,
            "id": row["id"],
            "uri": printable(str(row["uri"])),
            "new": rank < new,
            "guess": champion.classes[int(guesses[place].argmax())],
            "probability": f"{guesses[place].max():.3f}",
            "margin": f"{top[rank, -1] - top[rank, -min(2, top.shape[1])]:.3f}",
        }
        for rank, (place, row) in enumerate(zip(picked, chosen.to_dict("records"), strict=True))
    ]
    _write(table, pixels, strategy, title(champion_version))
    first = f", {new} of them unlike anything that has a label" if new else ""
    return (
        f"{len(table):,} of {int((~labelled).sum()):,} unlabelled images{first}\n"
        f"table   {FOLDER / 'label-next.csv'}\npage    {FOLDER / 'index.html'}\n"
        f"images  {FOLDER / 'images'}"
    )


def _probabilities(champion: Any, images: PoolImages, rows: Any) -> NDArray[np.float32]:
    parts = []
    with Progress("asking the champion", len(rows), "images") as bar:
        for start in range(0, len(rows), BATCH):
            some = rows.iloc[start : start + BATCH]
            parts.append(champion.probabilities(images.pixels(some)))
            bar.advance(len(some))
    return np.concatenate(parts)


def _write(
    table: list[dict[str, Any]], pixels: NDArray[np.uint8], strategy: str, model: str
) -> None:
    from jinja2 import Environment

    folder = _source_folder()
    rows = [{**row, "source": thumbnail(image)} for row, image in zip(table, pixels, strict=True)]
    page = Environment(autoescape=True).from_string(TEMPLATE.read_text())
    with atomic_directory(FOLDER) as directory:
        write_csv(
            directory / "label-next.csv",
            COLUMNS,
            [[str(row[name]) for name in COLUMNS] for row in table],
        )
        write_text(directory / "index.html", page.render(rows=rows, strategy=strategy, model=model))
        (directory / "images").mkdir()
        for row, image in zip(table, pixels, strict=True):
            _link(directory / "images", row, image, folder)


def _source_folder() -> Path | None:
    """Return the folder that was ingested, where the source is one."""
    source = load_params().ingest.source
    kind, _, place = source.partition(":") if isinstance(source, str) else ("", "", "")
    return Path(place).expanduser().resolve() if kind == "folder" else None


def _link(
    directory: Path, row: dict[str, Any], pixels: NDArray[np.uint8], folder: Path | None
) -> None:
    """Link the file of an image, or write its stored pixels where it has none."""
    relative = row["uri"].partition(":")[2]
    file = folder / relative if folder else None
    name = f"{row['rank']:04}-{Path(relative).stem}"
    if file is not None and file.is_file():
        (directory / f"{name}{file.suffix}").symlink_to(file)
    else:
        import base64

        content = base64.b64decode(thumbnail(pixels).partition(",")[2])
        write_bytes(directory / f"{name}.png", content)
