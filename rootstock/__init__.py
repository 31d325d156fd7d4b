"""Rootstock from Python: run the pipeline, read its results, ask its models.

Every function takes ``project``, a folder inside the project; without it the working directory
counts. Errors are the one-liners of the command line, as :class:`RootstockError`. The functions
change the working directory and the environment while they work, so call them from one thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.core.errors import ConfigError, DataError, Refused, RootstockError, StageFailed

if TYPE_CHECKING:
    from flows.registry.versions import ModelVersion

__all__ = [
    "ConfigError",
    "DataError",
    "Model",
    "Refused",
    "RootstockError",
    "StageFailed",
    "lineage",
    "load",
    "plan",
    "results",
    "run",
    "search",
]

Image = str | Path | bytes | NDArray[np.uint8]
"""File, bytes of one, or pixels (H, W), (H, W, 1) or (H, W, 3) of any size."""
CHAMPION = "rootstock-classifier@champion"
ENCODER = "rootstock-encoder@frozen-best"
BATCH = 256


def run(
    to: str | None = None,
    force: Sequence[str] = (),
    project: str | Path | None = None,
    **changes: Any,
) -> None:
    """Bring every stage up to date and promote the model if its gates agree.

    It is ``rootstock run`` in a process of its own, whose lines are printed here; interrupting it
    stops the run, and the next call continues it.

    Args:
        to: the last stage to run. force: stages to run though they are fresh.
        changes: parameters to write to params.yaml first, a section as a mapping
            (``pretrain={"epochs": 50}``) or by its key (``**{"pretrain.epochs": 50}``).

    Raises:
        Refused: a gate or the validation said no.
        ConfigError: a parameter, the call or the project is wrong; nothing was run.
        StageFailed: a stage failed, or the run was stopped.
    """
    from flows.process.command import call

    with _inside(project) as root:
        call(["run", *_options(to, force, changes)], root, echo=True)


def plan(
    to: str | None = None,
    force: Sequence[str] = (),
    project: str | Path | None = None,
    **changes: Any,
) -> pd.DataFrame:
    """Return what would run, one row a stage: ``stage``, ``state`` and ``why``; nothing is changed.

    The arguments and errors are those of :func:`run`.
    """
    from flows.process.command import call

    with _inside(project) as root:
        rows = json.loads(call(["plan", "--json", *_options(to, force, changes)], root))
    return pd.DataFrame(rows, columns=["stage", "state", "why"])


def results(project: str | Path | None = None, items: bool = False) -> pd.DataFrame:
    """Return the evaluation's table, one row a measured number, with its 95 % interval.

    Args:
        items: one row a number of every test image, draw of labels and metric instead, without
            intervals: what the table is made from.

    Raises:
        DataError: there is no evaluation yet.
    """
    from stages.core import paths

    with _inside(project) as root:
        path = root / paths.reports("evaluate") / ("results.parquet" if items else "table.csv")
    if not path.is_file():
        raise DataError(f"{path} is missing: rootstock.run() writes it")
    return pd.read_parquet(path) if items else pd.read_csv(path)


def lineage(reference: str = CHAMPION, project: str | Path | None = None) -> dict[str, Any]:
    """Return what a model was made from, as ``rootstock lineage --json`` prints it.

    Raises:
        ConfigError: there is no such model, version or alias.
    """
    from flows.lineage import trace

    with _resolved(reference, project) as version:
        return trace.as_dict(trace.trace(version))


def load(reference: str = CHAMPION, project: str | Path | None = None) -> Model:
    """Return a registered model, e.g. ``rootstock-encoder@frozen-best``, read into memory.

    Raises:
        ConfigError: there is no such model, version or alias.
    """
    with _resolved(reference, project) as version:
        return Model(version)


def search(
    image: Image,
    k: int = 20,
    within: str | Path | None = None,
    model: str = ENCODER,
    project: str | Path | None = None,
) -> pd.DataFrame:
    """Return the ``k`` images most like one, by exact cosine, the most similar first.

    Args:
        within: a folder of images to search; without it the workspace's images, with columns of
            their manifest rows.

    Raises:
        ConfigError: there is no such model or folder, or ``k`` is below 1.
        DataError: the image cannot be read, or the workspace has no images.
    """
    if k < 1:
        raise ConfigError(f"k={k}: at least one image must be asked for")
    given = Path(image).resolve() if isinstance(image, str | Path) else image
    folder = None if within is None else Path(within).resolve()
    with _resolved(model, project) as version:
        from flows.serving.search import search as find
        from stages.core.models.batch_inference import LoadedModel

        return find(version, LoadedModel(version.artifact), given, k, folder).rows


class Model:
    """Registered model in memory; it stays usable when the project changes.

    Attributes:
        name, version, digest: what the registry calls it.
        classes: the columns of :meth:`predict`; empty for an encoder.
    """

    def __init__(self, version: ModelVersion) -> None:
        from stages.core.models.batch_inference import LoadedModel

        self.name, self.version, self.digest = version.name, version.number, version.digest
        self._model = LoadedModel(version.artifact)
        self.classes = list(self._model.classes)

    def __repr__(self) -> str:
        return f"<{self.name} version {self.version}>"

    def predict(self, images: Image | Sequence[Image]) -> pd.DataFrame:
        """Return ``image``, ``label``, ``probability`` and ``p.CLASS`` for each class, row by row.

        Raises:
            ConfigError: the model is an encoder.
            DataError: an image cannot be read; it is named.
        """
        if not self.classes:
            raise ConfigError(f"{self.name} version {self.version} is an encoder: use embed")
        names, given = _listed(images)
        parts = [self._model.probabilities(pixels) for pixels in self._pixels(names, given)]
        found = np.concatenate(parts) if parts else np.empty((0, len(self.classes)), np.float32)
        best = found.argmax(axis=1)
        rows = {
            "image": names,
            "label": [self.classes[place] for place in best],
            "probability": found[np.arange(len(found)), best],
        }
        columns = {f"p.{name}": found[:, place] for place, name in enumerate(self.classes)}
        return pd.DataFrame({**rows, **columns})

    def embed(self, images: Image | Sequence[Image]) -> NDArray[np.float32]:
        """Return vectors (n, D) in the order given; of a classifier, those below its head.

        Raises:
            DataError: an image cannot be read; it is named.
        """
        names, given = _listed(images)
        parts = [self._model.features(pixels) for pixels in self._pixels(names, given)]
        empty = np.empty((0, self._model.num_features), np.float32)
        return np.concatenate(parts) if parts else empty

    def _pixels(self, names: list[str], images: list[Image]) -> Iterator[NDArray[np.uint8]]:
        from stages.core.image.decode import Unreadable

        for start in range(0, len(images), BATCH):
            pixels = []
            some = slice(start, start + BATCH)
            for name, image in zip(names[some], images[some], strict=True):
                try:
                    pixels.append(
                        self._model.read(Path(image) if isinstance(image, str) else image)
                    )
                except Unreadable as error:
                    raise DataError(f"{name}: {error}") from None
            yield np.stack(pixels)


def _listed(images: Image | Sequence[Image]) -> tuple[list[str], list[Image]]:
    """Names and images: a file's is its path, any other's its place. An array of four dimensions is
    many images, and so is one of three whose last is no number of channels.
    """
    one = isinstance(images, str | Path | bytes) or (
        isinstance(images, np.ndarray)
        and (images.ndim < 3 or (images.ndim == 3 and images.shape[-1] in (1, 3)))
    )
    given: list[Any] = [images] if one else list(images)  # type: ignore[arg-type]
    names = [
        str(image) if isinstance(image, str | Path) else f"image {place}"
        for place, image in enumerate(given)
    ]
    for name, image in zip(names, given, strict=True):
        if not isinstance(image, str | Path | bytes | np.ndarray):
            kind = type(image).__name__
            raise DataError(f"{name} is of type {kind}: give a path, bytes or a NumPy array")
    return names, given


@contextmanager
def _inside(project: str | Path | None) -> Iterator[Path]:
    """Work in the project's root with its settings; folder and environment are as before after."""
    from flows.project import environment

    root = environment.find_root(None if project is None else Path(project))
    folder, before = Path.cwd(), dict(os.environ)
    try:
        yield environment.enter(root)
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _resolved(reference: str, project: str | Path | None) -> Iterator[ModelVersion]:
    with _inside(project):
        from flows.adapters.mlflow.store import Store
        from flows.registry import versions

        yield versions.resolve(Store.open(), reference)


def _options(to: str | None, force: Sequence[str], changes: Mapping[str, Any]) -> list[str]:
    options = [*_assignments(changes), *(["--to", to] if to else [])]
    stages = [force] if isinstance(force, str) else force
    return [*options, *(word for stage in stages for word in ("--force", stage))]


def _assignments(changes: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``--set KEY=VALUE`` for every change, values in JSON, which is YAML too."""
    options: list[str] = []
    for key, value in changes.items():
        if isinstance(value, Mapping) and value:
            options += _assignments(value, f"{prefix}{key}.")
            continue
        try:
            options += ["--set", f"{prefix}{key}={json.dumps(value)}"]
        except TypeError:
            raise ConfigError(
                f"{prefix}{key}={value!r}: give a number, text, list, mapping, True, False or None"
            ) from None
    return options
