"""New images and training images as the champion sees them: read as the pipeline reads them, then
features of the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flows.data.versions import TrainingData
from flows.lineage import trace as lineage
from flows.registry.versions import ModelVersion
from flows.serving import predict, prediction_log
from stages.core.errors import ConfigError, DataError
from stages.core.params import Params
from stages.core.random import numpy_generator

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float32]


def files(images: Path | None, root: Path, most: int) -> list[Path]:
    """The images of a folder, or the last ``most`` that ``rootstock predict`` was asked about and
    that still exist.

    Raises:
        ConfigError: there are none.
    """
    if images is not None:
        return predict.find_images([images])
    if not (root / prediction_log.LOG).is_file():
        raise ConfigError("no image has been predicted yet: name a folder of new images")
    if not (found := prediction_log.latest(root, most)):
        raise ConfigError(
            "none of the images predicted so far exist any more: name a folder of new images"
        )
    return found


def training_features(champion: ModelVersion, root: Path, params: Params) -> Array:
    """Features (n, D) of the images a version was trained on, drawn down to ``monitor.max_images``,
    copies left out.

    Raises:
        ConfigError: these images are not here any more.
    """
    outputs = {
        path: digest
        for step in lineage.trace(champion).steps.values()
        for path, digest in step.outputs.items()
    }
    data = TrainingData(root, f"{champion.name} {champion.title}", outputs)
    manifest = data.manifest
    rows = manifest.pretraining_rows()
    rows = rows[~manifest.frame.loc[rows, "id"].duplicated().to_numpy(bool)]
    if len(rows) > params.monitor.max_images:
        rows = np.sort(
            numpy_generator(params.seed, "monitor").choice(
                rows, params.monitor.max_images, replace=False
            )
        )
    return encode(champion.folder, data.pixels.gather(rows))


def pixels_of_files(
    folder: Path, images: Sequence[Path], params: Params
) -> tuple[NDArray[np.uint8], int]:
    """Image files (m, C, H, W), read as the pipeline reads them, and how many could not be read."""
    from stages.core.image.decode import Unreadable, decode, resize
    from stages.core.models.artifact import load_classifier
    from stages.core.sixteen import FULL

    if len(images) > params.monitor.max_images:
        images = [
            images[i]
            for i in numpy_generator(params.seed, "monitor files").choice(
                len(images), params.monitor.max_images, replace=False
            )
        ]
    preprocess = load_classifier(_weights(folder)).preprocess
    pixels, unreadable = [], 0
    for image in images:
        try:
            decoded = decode(
                image, preprocess.channels, params.ingest.max_pixels, preprocess.sixteen_bit or FULL
            )
            pixels.append(
                resize(decoded, preprocess.size, preprocess.interpolation).transpose(2, 0, 1)
            )
        except Unreadable:
            unreadable += 1
    if not pixels:
        raise DataError(f"none of the {len(images)} new images can be read")
    return np.stack(pixels), unreadable


def _weights(folder: Path) -> Path:
    """The model's own directory inside the registered package."""
    return next(path.parent for path in sorted(folder.rglob("weights.safetensors")))


def encode(folder: Path, images: Tensor) -> Array:
    """The champion's features (n, D) of uint8 images (n, C, H, W), from the layer below its head."""  # noqa: E501
    from stages.core.models.artifact import load_classifier

    encoder = load_classifier(_weights(folder)).encoder
    parts = [
        encoder.encode(images[start : start + 512]).numpy() for start in range(0, len(images), 512)
    ]
    return np.concatenate(parts).astype(np.float32)
