"""How pixels become the network's input. It travels with the weights, and feeding an image any
other way is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from stages.core.errors import DataError
from stages.core.image.decode import STORE_INTERPOLATION, Interpolation
from stages.core.io import read_json, write_json
from stages.core.sixteen import FULL, Levels

FILE = "preprocess.json"
CHUNK = 4096


class Pixels(Protocol):
    """The part of a pixel store that is needed here."""

    @property
    def shape(self) -> tuple[int, int, int, int]: ...
    def gather(self, rows: np.ndarray) -> Tensor: ...


class Preprocess(BaseModel):
    """Size, channels and normalisation of an input; ``mean`` and ``std`` are per channel, on pixels
    scaled to 0…1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = STORE_INTERPOLATION
    """How an image of another size is brought to this one: as the store's images were."""
    sixteen_bit: Levels | None = Field(default=None, exclude_if=lambda value: value is None)
    """The range of 16-bit values that becomes 0 to 255; ``None``: the whole range, by the high
    byte.
    """

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"mean and std need {self.channels} values each, got {len(self.mean)} and"
                f" {len(self.std)}"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")
        return self

    def apply(self, images: Tensor) -> Tensor:
        """Normalise uint8 ``(N, C, H, W)`` to float32 of the same shape.

        Raises:
            DataError: another dtype, channel count or size; nothing is resized silently.
        """
        expected = (self.channels, self.size, self.size)
        if images.dtype != torch.uint8 or images.dim() != 4 or tuple(images.shape[1:]) != expected:
            given = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            raise DataError(
                f"images are {given}; this model takes uint8 (N, {', '.join(map(str, expected))}):"
                " decode and resize first"
            )
        return self.normalise(images.float().div_(255))

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise float images in 0…1 of shape ``(N, C, H, W)``: what drawn views go through."""
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (images - mean) / std

    @classmethod
    def from_pixels(cls, store: Pixels, rows: np.ndarray) -> Preprocess:
        """Measure mean and std on ``rows`` of a store, exactly: from counts of the 256 values of
        each channel.
        """
        _, channels, size, _ = store.shape
        if len(rows) == 0:
            raise DataError("there is no image to measure mean and std on: curate kept none")
        counts = np.zeros((channels, 256), dtype=np.int64)
        for start in range(0, len(rows), CHUNK):
            images = store.gather(rows[start : start + CHUNK]).numpy()
            for channel in range(channels):
                counts[channel] += np.bincount(images[:, channel].reshape(-1), minlength=256)
        values = np.arange(256) / 255
        total = counts.sum(axis=1)
        mean = (counts * values).sum(axis=1) / total
        variance = (counts * values**2).sum(axis=1) / total - mean**2
        std = np.maximum(
            np.sqrt(np.maximum(variance, 0)), 1e-3
        )  # a channel of one value stays finite
        levels: Levels = getattr(store, "levels", FULL)
        return cls(
            size=size,
            channels=channels,
            mean=tuple(map(_short, mean)),
            std=tuple(map(_short, std)),
            sixteen_bit=None if levels == FULL else levels,
        )

    @classmethod
    def read(cls, directory: Path | str) -> Preprocess:
        """Read ``preprocess.json`` beside a model's weights."""
        path = Path(directory) / FILE
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            raise DataError(
                f"{path} does not describe a preprocessing: {error.errors()[0]['msg']}"
            ) from None

    def write(self, directory: Path | str) -> None:
        """Write ``preprocess.json`` into ``directory``."""
        write_json(Path(directory) / FILE, self.model_dump())


def _short(value: float) -> float:
    return float(f"{value:.6g}")
