"""New images and training images as the champion sees them: read as the pipeline reads them, then
features of the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.data.versions import TrainingData
from flows.lineage import trace as lineage
from flows.registry.versions import ModelVersion
from flows.serving import predict, prediction_log
from stages.core.errors import ConfigError
from stages.core.params import Params
from stages.core.random import numpy_generator

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
    from stages.core.models.batch_inference import features_of_rows

    return features_of_rows(weights_of(champion.folder), data.pixels, rows)


def weights_of(folder: Path) -> Path:
    """Return the model's own directory inside the registered package."""
    return next(path.parent for path in sorted(folder.rglob("weights.safetensors")))


def pixels_of_files(
    folder: Path, images: Sequence[Path], params: Params
) -> tuple[NDArray[np.uint8], int]:
    """Return image files (m, C, H, W), read as the pipeline reads them, and how many could not be
    read; at most ``monitor.max_images`` are drawn.
    """
    from stages.core.models.batch_inference import read_images

    if len(images) > params.monitor.max_images:
        images = [
            images[i]
            for i in numpy_generator(params.seed, "monitor files").choice(
                len(images), params.monitor.max_images, replace=False
            )
        ]
    return read_images(weights_of(folder), images, params.ingest.max_pixels)
