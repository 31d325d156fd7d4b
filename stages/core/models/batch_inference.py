"""Batch inference: what a saved model answers to many images, as numpy arrays.

The door for code that touches no tensor, such as the flows: directories, rows and uint8 arrays in,
float32 arrays out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stages.core.errors import DataError
from stages.core.image.decode import Unreadable, decode, resize
from stages.core.metrics.representation import Array, Gathers, embed
from stages.core.models.artifact import load_classifier, load_encoder
from stages.core.progress import Progress
from stages.core.sixteen import FULL

BATCH = 1024


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
