"""A registered model as something to ask: encoded images or uint8 arrays in; labels and
probabilities, or features, out.

The very functions that ingest uses decode and resize here, so an image is seen as it was in
training, or refused.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stages.core.errors import DataError
from stages.core.image.decode import Unreadable, decode, resize
from stages.core.image.preprocess import Preprocess
from stages.core.models.artifact import load_classifier, load_encoder
from stages.core.sixteen import FULL

MAX_PIXELS = 50_000_000
BATCH = 256
Array = npt.NDArray[np.uint8]


class ImageReader:
    """Brings whatever a client sends to the uint8 pixels a model takes."""

    def __init__(self, preprocess: Preprocess) -> None:
        self.size, self.channels = preprocess.size, preprocess.channels
        self.interpolation = preprocess.interpolation
        self.levels = preprocess.sixteen_bit or FULL

    def batches(self, images: Sequence[Any]) -> Iterator[Tensor]:
        """uint8 ``(n, C, size, size)``, some hundred images at a time.

        Args:
            images: JPEG, PNG, … bytes, the same in base64, or uint8 arrays (nested lists) ``(H, W,
                C)`` or ``(H, W)``.

        Raises:
            DataError: an image that is no image, or an array of another type or shape; the message
                names its position.
        """
        for start in range(0, len(images), BATCH):
            chunk = [
                self._pixels(image, start + offset)
                for offset, image in enumerate(images[start : start + BATCH])
            ]
            yield torch.from_numpy(np.stack(chunk)).permute(0, 3, 1, 2).contiguous()

    def _pixels(self, image: Any, position: int) -> Array:
        """The image as this model takes it: uint8 ``(size, size, channels)``."""
        if isinstance(image, str):
            image = _bytes(image, position)
        if not isinstance(image, bytes):
            return self._checked(_array(image, position), position)
        try:
            return resize(
                decode(image, self.channels, MAX_PIXELS, self.levels), self.size, self.interpolation
            )
        except Unreadable as error:
            raise DataError(f"image {position} cannot be used: {error}") from None

    def _checked(self, array: npt.NDArray[Any], position: int) -> Array:
        expected = f"uint8 ({self.size}, {self.size}, {self.channels})"
        if array.dtype != np.uint8:
            whole = (
                np.issubdtype(array.dtype, np.integer)
                and array.size
                and array.min() >= 0
                and array.max() <= 255
            )
            if not whole:
                raise DataError(
                    f"image {position} is {array.dtype} {array.shape}; this model takes {expected}"
                )
            array = array.astype(np.uint8)
        if array.ndim == 2:
            array = array[:, :, None]
        if array.shape != (self.size, self.size, self.channels):
            raise DataError(
                f"image {position} has shape {array.shape}; this model takes {expected}, or an"
                " encoded image of any size"
            )
        return array


class ImageClassifier:
    """The classifier artifact of a directory, with its preprocessing."""

    def __init__(self, directory: Path | str) -> None:
        self.model = load_classifier(directory)
        self.classes = self.model.classes
        self.reader = ImageReader(self.model.preprocess)

    def predict(self, images: Sequence[Any]) -> list[dict[str, Any]]:
        """One answer per image (see :meth:`ImageReader.batches`): ``label``, its ``probability``,
        ``probabilities`` by class.
        """
        return [
            self._answer(row)
            for batch in self.reader.batches(images)
            for row in self.model.predict_proba(batch).numpy()
        ]

    def _answer(self, row: npt.NDArray[np.float32]) -> dict[str, Any]:
        best = int(row.argmax())
        probabilities = {name: float(value) for name, value in zip(self.classes, row, strict=True)}
        return {
            "label": self.classes[best],
            "probability": float(row[best]),
            "probabilities": probabilities,
        }


class ImageEncoder:
    """The encoder artifact of a directory, with its preprocessing."""

    def __init__(self, directory: Path | str) -> None:
        self.model = load_encoder(directory)
        self.reader = ImageReader(self.model.preprocess)

    def features(self, images: Sequence[Any]) -> npt.NDArray[np.float32]:
        """``(n, D)``, of images as :meth:`ImageReader.batches` takes them."""
        parts = [self.model.encode(batch).numpy() for batch in self.reader.batches(images)]
        return (
            np.concatenate(parts) if parts else np.empty((0, self.model.num_features), np.float32)
        )


def _array(nested: Any, position: int) -> npt.NDArray[Any]:
    """An array, also of the nested lists that JSON has for it."""
    try:
        return np.asarray(nested)
    except ValueError:
        raise DataError(
            f"image {position} has rows of different lengths; send uint8 (H, W, C)"
        ) from None


def _bytes(text: str, position: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # outside its alphabet, or not even ASCII
        raise DataError(
            f"image {position} is text but not base64: send the bytes of a JPEG or PNG file in"
            " base64"
        ) from None


def given_images(table: Any) -> list[Any]:
    """The images of a table with a column ``image`` (base64) or ``pixels`` (uint8 arrays).

    Raises:
        DataError: neither or both, or no row; the message names what was found.
    """
    known = [name for name in ("image", "pixels") if name in table.columns]
    if known and not len(table):
        raise DataError("the table has no row: send at least one image")
    given = [name for name in known if table[name].notna().any()]
    if len(given) != 1:
        raise DataError(
            "send one column, image (base64) or pixels (uint8 arrays); found"
            f" {'both' if given else 'neither'}"
        )
    return list(table[given[0]])
