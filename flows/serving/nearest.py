"""The pool's image that is most like a vector of features, as the registered encoder sees both."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.image.pixel_store import PixelStore
from stages.core.random import numpy_generator

MOST = 1000
"""Images of the pool that are compared with."""
BATCH = 256


class Nearest:
    """Features of some images of the workspace's pool, where there is one, and their uris."""

    def __init__(self, model: Any) -> None:
        self.uris: list[str] = []
        self.features: NDArray[np.float32] = np.empty((0, 0), np.float32)
        if not paths.POOL_MANIFEST.is_file():
            return
        manifest, store = Manifest.read(paths.POOL_MANIFEST), PixelStore.open()
        manifest.validate_against(store)
        rows = manifest.rows(manifest.ok)
        if len(rows) > MOST:
            rows = np.sort(numpy_generator(0, "nearest").choice(rows, MOST, replace=False))
        if not len(rows):
            return
        self.uris = manifest.frame["uri"].iloc[rows].tolist()
        parts = [
            features_of(model, list(_encoded(store.array(rows[start : start + BATCH]))))
            for start in _starts(len(rows))
        ]
        self.features = _unit(np.concatenate(parts))

    def to(self, features: NDArray[np.float32]) -> list[tuple[str, float]]:
        """Uri and cosine similarity of the nearest image to each vector ``(n, D)``; empty without a
        pool.
        """
        if not self.uris:
            return []
        likeness = _unit(features) @ self.features.T
        best = likeness.argmax(axis=1)
        return [
            (self.uris[place], float(row[place]))
            for place, row in zip(best.tolist(), likeness, strict=True)
        ]


def features_of(model: Any, encoded: list[str]) -> NDArray[np.float32]:
    """Features ``(n, D)`` of encoded images in base64."""
    import pandas as pd

    answers = model.predict(pd.DataFrame({"image": encoded}))
    return np.array(answers["features"].tolist(), np.float32)


def _encoded(images: NDArray[np.uint8]) -> Iterator[str]:
    from PIL import Image

    for image in images:
        buffer = io.BytesIO()
        picture = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
        yield base64.b64encode(buffer.getvalue()).decode()


def _starts(count: int) -> range:
    return range(0, count, BATCH)


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = features / np.maximum(
        np.linalg.norm(features, axis=1, keepdims=True), 1e-12
    )
    return scaled
