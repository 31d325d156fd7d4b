"""``rootstock predict``: files and folders in, a table or CSV out, by the registered model and
nothing else.
"""

from __future__ import annotations

import base64
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from flows.adapters.mlflow.store import Store
from flows.registry import versions
from flows.registry.versions import ModelVersion
from flows.serving import prediction_log
from flows.serving.nearest import Nearest
from stages.core.data.folders import walk
from stages.core.errors import ConfigError, DataError
from stages.core.image.decode import Unreadable, read_file
from stages.core.io import atomic_file
from stages.core.progress import Progress, aside

if TYPE_CHECKING:
    import pandas as pd

BATCH = 256
LARGEST = 1 << 30
"""Bytes of a file that is read at all."""
UNREADABLE = 2


def predict_files(reference: str, inputs: list[Path], output: Path | None) -> int:
    """Answer for every image; returns 0, or 2 where a file could not be used: it is named, the rest
    is answered.

    A classifier answers with a label and its probability, an encoder with a vector.
    """
    files = find_images(inputs)
    model = load(versions.resolve(Store.open(), reference))
    rows: list[dict[str, Any]] = []
    unusable = 0
    with aside(str(output) == "-"), Progress("predict", len(files), "images") as bar:
        for start in range(0, len(files), BATCH):
            chunk = files[start : start + BATCH]
            for file, answer in zip(chunk, answer_files(model, chunk), strict=True):
                if isinstance(answer, str):
                    unusable += 1
                    print(f"{file}: {answer}", file=sys.stderr)
                else:
                    rows.append({"image": str(file), **answer})
            bar.advance(len(chunk))
    prediction_log.remember(Path(row["image"]) for row in rows)
    vectors = bool(rows) and "features" in rows[0]
    if output is None and vectors:
        _vectors(rows, Nearest(model))
    elif output is None:
        _table(rows)
    elif str(output) == "-":
        _csv(_flat(rows), sys.stdout)
    else:
        with (
            atomic_file(output) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as table,
        ):
            _csv(_flat(rows), table)
        print(f"{len(rows)} answers in {output}")
    return UNREADABLE if unusable else 0


def find_images(inputs: list[Path]) -> list[Path]:
    """The files given, and every image below the folders given; hidden ones are skipped.

    Raises:
        ConfigError: a path does not exist, or there is no image at all.
    """
    files: list[Path] = []
    for path in inputs:
        if not path.exists():
            raise ConfigError(f"{path} does not exist")
        if not path.is_dir():
            files.append(path)
            continue
        listing = walk(path)
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in listing.ignored.items())
        if not listing.files:
            raise ConfigError(
                f"{path} has no images that can be read here{f' ({kinds})' if kinds else ''}"
            )
        if kinds:
            print(
                f"{path}: left out, as they are no images that can be read here: {kinds}",
                file=sys.stderr,
            )
        files += [path / name for name in listing.files]
    return files


def load(version: ModelVersion) -> Any:
    """The registered model as MLflow serves it."""
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(f"models:/{version.name}/{version.number}")


def answer_files(model: Any, files: list[Path]) -> list[dict[str, Any] | str]:
    """One answer per file: label and probabilities, or why it cannot be used. A damaged file does
    not spoil its batch.
    """
    import pandas as pd
    from mlflow.exceptions import MlflowException

    try:
        encoded = [base64.b64encode(read_file(file, LARGEST)).decode() for file in files]
        return _answers(model.predict(pd.DataFrame({"image": encoded})))
    except Unreadable as error:
        if len(files) == 1:
            return [str(error)]
    except (
        MlflowException,
        DataError,
    ) as error:  # models registered by earlier code raise the second
        if len(files) == 1:
            return [str(error).removeprefix("image 0 ")]
    middle = len(files) // 2
    return [*answer_files(model, files[:middle]), *answer_files(model, files[middle:])]


def _answers(table: pd.DataFrame) -> list[dict[str, Any] | str]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _table(rows: list[dict[str, Any]]) -> None:
    width = max((len(row["image"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['image']:<{width}}  {row['label']}  {row['probability']:.4f}")


def _vectors(rows: list[dict[str, Any]], nearest: Nearest) -> None:
    """Size and norm of every vector, and the image of the pool that is most like it."""
    features = np.array([row["features"] for row in rows], np.float32)
    found = nearest.to(features)
    width = max(len(row["image"]) for row in rows)
    for number, row in enumerate(rows):
        like = f"  nearest {found[number][0]} (cosine {found[number][1]:.4f})" if found else ""
        norm = float(np.linalg.norm(features[number]))
        print(f"{row['image']:<{width}}  vector of {features.shape[1]}  norm {norm:.4f}{like}")
    print("--csv FILE writes the vectors", file=sys.stderr)


def _flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with a column for each number of a vector: ``features.0``, ``features.1``, …"""
    return [
        {key: value for key, value in row.items() if key != "features"}
        | {f"features.{number}": value for number, value in enumerate(row.get("features", ()))}
        for row in rows
    ]


def _csv(rows: list[dict[str, Any]], file: TextIO) -> None:
    if rows:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
