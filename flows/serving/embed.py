"""``rootstock embed``: vectors of image files or of the pool, by a registered model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows.adapters.mlflow.store import Store
from flows.registry import versions
from flows.registry.versions import ENCODER, FROZEN_BEST, ModelVersion
from flows.serving import vectors
from flows.serving.predict import UNREADABLE, find_images
from flows.serving.sources import FileImages, Images, PoolImages
from stages.core.errors import DataError
from stages.core.models.batch_inference import LoadedModel
from stages.core.progress import Progress

BEST = f"{ENCODER}@{FROZEN_BEST}"
"""The encoder that is asked where none is named."""


def embed_to(reference: str, inputs: list[Path] | None, output: Path) -> int:
    """Write the vectors of files, folders or, for ``None``, of the pool.

    At most ``sources.BATCH`` images are in memory. Returns 0, or 2 where a file could not be used:
    it is named, the rest is written.

    Raises:
        ConfigError: a path or the model does not exist, or the output has no known ending.
        DataError: no image can be read; no file is written.
    """
    vectors.check(output)
    files = None if inputs is None else find_images(inputs)
    version, model = open_model(reference)
    images: Images = (
        PoolImages(model, title(version)) if files is None else FileImages(files, model)
    )
    facts = {
        "rootstock.model": version.name,
        "rootstock.version": version.number,
        "rootstock.digest": version.digest,
    }
    written = 0
    with vectors.open_vectors(output, model.num_features, facts) as sink:
        for about, features in embedded(model, images):
            sink.add(about, features)
            written += len(features)
        if not written:
            raise DataError(f"none of the {len(images)} images can be read: nothing was written")
    print(f"{written:,} vectors of {model.num_features} by {title(version)} in {output}")
    return UNREADABLE if images.unusable else 0


def embedded(
    model: LoadedModel, images: Images
) -> Iterator[tuple[pd.DataFrame, NDArray[np.float32]]]:
    """Yield rows (n) about some images and their vectors (n, D), with progress."""
    with Progress("embed", len(images), "images") as bar:
        answered = 0
        for about, pixels in images.chunks():
            if len(about):
                yield about, model.features(pixels)
            answered += len(about)
            bar.advance(answered + images.unusable - bar.done)


def open_model(reference: str) -> tuple[ModelVersion, LoadedModel]:
    """Return the version that ``MODEL@ALIAS`` names and its weights.

    Raises:
        ConfigError: there is no such model, version or alias; the message names what there is.
    """
    version = versions.resolve(Store.open(), reference)
    return version, LoadedModel(version.artifact)


def title(version: ModelVersion) -> str:
    """Return the name for messages, e.g. ``rootstock-encoder version 3``."""
    return f"{version.name} {version.title}"
