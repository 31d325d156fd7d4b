"""Batch inference: what a saved model answers to many images, as numpy arrays.

The door for code that touches no tensor, such as the flows: directories, rows and uint8 arrays in,
float32 arrays out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.core.errors import DataError
from stages.core.image.decode import Unreadable, decode, in_channels, resize
from stages.core.io import read_json
from stages.core.metrics.representation import Array, Gathers, embed
from stages.core.models.artifact import CONFIG, load_classifier, load_encoder
from stages.core.models.inference import MAX_PIXELS
from stages.core.progress import Progress
from stages.core.sixteen import FULL

BATCH = 1024


class LoadedModel:
    """Saved model that is read once and asked about many images, with its preprocessing.

    Attributes:
        classes: names of the probabilities' columns; empty for an encoder.
        shape: channels, height and width of the pixels it takes.
        num_features: length of a feature vector.
    """

    def __init__(self, directory: Path) -> None:
        is_classifier = read_json(directory / CONFIG).get("kind") == "classifier"
        self._classifier = load_classifier(directory) if is_classifier else None
        self._encoder = self._classifier.encoder if self._classifier else load_encoder(directory)
        self.classes = self._classifier.classes if self._classifier else []
        self.preprocess = self._encoder.preprocess
        self.shape = (self.preprocess.channels, self.preprocess.size, self.preprocess.size)
        self.num_features = self._encoder.num_features

    def read(self, image: Path | bytes | NDArray[Any]) -> NDArray[np.uint8]:
        """Return an image as the model takes it, uint8 (C, H, W), by the rules of ingest.

        Args:
            image: a file, the bytes of one, or uint8 pixels (H, W), (H, W, 1) or (H, W, 3) of any
                size.

        Raises:
            Unreadable: it is no image, or an array of another type or shape.
        """
        channels, size, _ = self.shape
        if isinstance(image, np.ndarray):
            pixels = in_channels(_plain_pixels(image), channels)
        else:
            levels = self.preprocess.sixteen_bit or FULL
            pixels = decode(image, channels, MAX_PIXELS, levels)
        shaped = resize(pixels, size, self.preprocess.interpolation)
        return shaped.transpose(2, 0, 1).copy()  # Pillow's are read-only, which torch warns of

    def features(self, images: NDArray[np.uint8]) -> Array:
        """Return features (n, D) of pixels (n, C, H, W); of a classifier, those below its head.

        Raises:
            DataError: pixels of another shape, or features that are no numbers.
        """
        found: Array = self._encoder.encode(torch.from_numpy(images)).numpy()
        if not np.isfinite(found).all():
            raise DataError("the encoder's features are no numbers: its training diverged")
        return found

    def probabilities(self, images: NDArray[np.uint8]) -> Array:
        """Return probabilities (n, len(classes)) of pixels (n, C, H, W).

        Raises:
            DataError: the model is an encoder, or takes pixels of another shape.
        """
        if self._classifier is None:
            raise DataError("an encoder has no classes to predict: ask it for features")
        found: Array = self._classifier.predict_proba(torch.from_numpy(images)).numpy()
        return found


def input_shape(directory: Path) -> tuple[int, int]:
    """Return channels and side of the images that a saved model takes."""
    preprocess = load_encoder(directory).preprocess
    return preprocess.channels, preprocess.size


def predict_rows(
    directory: Path, store: Gathers, rows: NDArray[np.int64], description: str = "predicting"
) -> tuple[list[str], Array]:
    """Return the classes of a saved classifier and their probabilities (n, C) for stored rows."""
    model = load_classifier(directory)
    found = np.empty((len(rows), len(model.classes)), np.float32)
    with Progress(description, len(rows), "images") as bar:
        for start in range(0, len(rows), BATCH):
            some = slice(start, start + BATCH)
            found[some] = model.predict_proba(store.gather(rows[some])).numpy()
            bar.advance(len(rows[some]))
    return model.classes, found


def features_of_rows(directory: Path, store: Gathers, rows: NDArray[np.int64]) -> Array:
    """Return features (n, D) of stored rows; of a classifier, those below its head."""
    return embed(load_encoder(directory), store, rows)


def features_of_images(directory: Path, images: NDArray[np.uint8]) -> Array:
    """Return features (n, D) of images (n, C, H, W); of a classifier, those below its head."""
    features: Array = load_encoder(directory).encode(torch.from_numpy(images)).numpy()
    return features


def read_images(
    directory: Path, files: Sequence[Path], max_pixels: int
) -> tuple[NDArray[np.uint8], int]:
    """Return image files as a saved model takes them (n, C, H, W), and how many are unreadable.

    Raises:
        DataError: none can be read.
    """
    preprocess = load_encoder(directory).preprocess
    pixels = []
    for file in files:
        try:
            levels = preprocess.sixteen_bit or FULL
            decoded = decode(file, preprocess.channels, max_pixels, levels)
            shaped = resize(decoded, preprocess.size, preprocess.interpolation)
            pixels.append(shaped.transpose(2, 0, 1))
        except Unreadable:
            continue
    if not pixels:
        raise DataError(f"none of the {len(files)} new images can be read")
    return np.stack(pixels), len(files) - len(pixels)


def _plain_pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise Unreadable(
            f"{array.dtype} {array.shape} is no image: give uint8 (H, W), (H, W, 1) or (H, W, 3)"
        )
    if not pixels.size:
        raise Unreadable(f"an array of shape {array.shape} has no pixels")
    return np.ascontiguousarray(pixels)
