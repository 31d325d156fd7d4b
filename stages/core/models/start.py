"""Start: given weights, as the flow laid them out before planning.

``.rootstock/start.json`` (``pretrain.start``) and ``.rootstock/teacher.json`` (``distill.teacher``)
say which file they are, its SHA-256, origin and licence, and, where they are known, the network and
the normalisation the weights were trained with.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from stages.core import paths
from stages.core.errors import ConfigError, DataError
from stages.core.image.backbones import Stem
from stages.core.image.preprocess import Preprocess
from stages.core.io import read_json
from stages.core.params import Params
from stages.core.sections import Normalisation, Pretrain
from stages.core.starts import RANDOM

SMALL = 48
"""Side in pixels below which a start's stem keeps its kernels and loses its pooling."""


class Start(BaseModel):
    """Weights to start from; ``mean`` and ``std`` are None where they are not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str
    file: Path
    sha256: str
    origin: str | None = None
    licence: str | None = None
    backbone: str | None = None
    stem: Stem | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @classmethod
    def read(cls, params: Pretrain) -> Start | None:
        """Return what ``pretrain.start`` names, with the normalisation the parameters give; None
        for ``random``.

        Raises:
            ConfigError: it was not laid out.
            DataError: the file has changed since.
        """
        if params.start == RANDOM:
            return None
        start = cls.named(params.start, paths.START, "pretrain.start")
        given = params.start_normalisation
        if isinstance(given, Normalisation):
            start = start.model_copy(update={"mean": given.mean, "std": given.std})
        return start

    @classmethod
    def named(cls, name: str, path: Path, key: str) -> Start:
        """Return the weights of that name from the file that the flow laid out for ``key``.

        Raises:
            ConfigError: they were not laid out.
            DataError: the file has changed since.
        """
        found = read_json(path) if path.is_file() else {}
        if found.get("start") != name:
            raise ConfigError(
                f"{key}: {name} has not been looked up: rootstock run does it, python -m"
                f" stages.{key.partition('.')[0]} cannot"
            )
        start = cls.model_validate(found)
        if not start.file.is_file():
            raise DataError(f"{key}: {start.file} is missing")
        with start.file.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != start.sha256:
                raise DataError(
                    f"{key}: {start.file} has changed since the run was planned: run again"
                )
        return start

    def resolved(self, params: Params, size: int) -> Params:
        """Return the parameters with the start's network and stem for ``auto``.

        Below 48 pixels the stem's pooling is left out (``half``), which changes no weight.

        Raises:
            ConfigError: ``auto``, and the start does not say its network.
        """
        own, changes = params.pretrain, {}
        if own.backbone == "auto":
            if self.backbone is None:
                raise ConfigError(
                    f"pretrain.backbone is auto, and {self.start} does not say its network: name it"
                )
            changes["backbone"] = self.backbone
        if own.stem == "auto":
            changes["stem"] = self.stem_for(size)
        return params.model_copy(update={"pretrain": own.model_copy(update=changes)})

    def stem_for(self, size: int) -> Stem:
        """Return the stem the weights were trained with, or the one for images of ``size`` px."""
        return self.stem or ("half" if size < SMALL else "standard")

    def normalised(self, measured: Preprocess) -> Preprocess:
        """Return the preprocessing with the normalisation of the start, where it is known.

        For images of one channel the means of its channels are taken.

        Raises:
            ConfigError: mean and std are for another number of channels.
        """
        if self.mean is None or self.std is None:
            return measured
        mean, std = (_fitting(values, measured.channels) for values in (self.mean, self.std))
        return Preprocess.model_validate({**measured.model_dump(), "mean": mean, "std": std})


def _fitting(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) == channels:
        return values
    if channels == 1:
        return (sum(values) / len(values),)
    if len(values) == 1:
        return values * channels
    raise ConfigError(
        f"pretrain.start_normalisation: {len(values)} values for images of {channels} channels"
    )
