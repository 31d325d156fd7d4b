"""The images that encoders are tried on: a folder's, or the workspace's pool, in the size and
channels an encoder takes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.core import paths
from stages.core.errors import ConfigError, DataError
from stages.core.layout import Layout
from stages.core.params import load_params
from stages.core.random import numpy_generator


class Folder:
    """Images of a folder, drawn down; their classes are what ingest would take from their
    places.
    """

    def __init__(self, folder: Path, images: int) -> None:
        from flows.serving.predict import find_images

        if folder.is_file():
            raise ConfigError(f"{folder} is a file, not a folder of images")
        files = find_images([folder])
        if len(files) > images:
            chosen = numpy_generator(0, "suggest", len(files)).choice(
                len(files), images, replace=False
            )
            files = [files[place] for place in np.sort(chosen)]
        from stages.core.image.decode import Unreadable, open_image

        most = load_params().ingest.max_pixels
        self.pictures, kept = [], []
        for file in files:
            try:
                self.pictures.append(open_image(file, most))
                kept.append(file)
            except Unreadable:
                continue
        if not kept:
            raise ConfigError(f"none of the {len(files)} images in {folder} can be read")
        below = [file.relative_to(folder).parent.as_posix().removeprefix(".") for file in kept]
        layout = Layout.of(below, load_params().ingest.splits)
        self.labels, self.classes = _numbered([layout.place(path)[1] for path in below])

    def pixels(self, size: int, channels: int) -> NDArray[np.uint8]:
        """Return the images (N, C, H, W) as ingest would store them."""
        from stages.core.image.decode import resize, to_array

        arrays = [resize(to_array(picture, channels), size) for picture in self.pictures]
        return np.ascontiguousarray(np.stack(arrays).transpose(0, 3, 1, 2))


class Pool:
    """Kept training images of the workspace."""

    def __init__(self, images: int) -> None:
        from stages.core.data.manifest import Manifest
        from stages.core.image.pixel_store import PixelStore

        manifest, self.store = Manifest.read(paths.CURATED_MANIFEST), PixelStore.open()
        rows = manifest.pretraining_rows()
        if len(rows) > images:
            rows = np.sort(
                numpy_generator(0, "suggest", len(rows)).choice(rows, images, replace=False)
            )
        self.rows = rows
        self.labels, self.classes = _numbered(manifest.frame["label"].iloc[rows].tolist())

    def pixels(self, size: int, channels: int) -> NDArray[np.uint8]:
        """Return the images (N, C, H, W) from the store, which has one size."""
        if self.store.shape[1:] != (channels, size, size):
            raise DataError(
                f"takes {channels} × {size} × {size}, the pool holds"
                f" {' × '.join(map(str, self.store.shape[1:]))}"
            )
        return self.store.array(self.rows)


def _numbered(names: list[str | None]) -> tuple[np.ndarray, int]:
    """Class numbers (n,), −1 without a name, and how many classes there are."""
    known = sorted({name for name in names if isinstance(name, str)})
    places = {name: number for number, name in enumerate(known)}
    return np.array(
        [places.get(name, -1) if isinstance(name, str) else -1 for name in names], dtype=np.int64
    ), len(known)
