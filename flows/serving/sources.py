"""Images to embed: files on disk or the pool of the workspace, handed over some at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import DataError
from stages.core.image.decode import Unreadable
from stages.core.image.pixel_store import PixelStore

if TYPE_CHECKING:
    from stages.core.models.batch_inference import LoadedModel

BATCH = 256
DESCRIBED = ("id", "uri", "source", "split", "label", "group", "keep", "reason")
"""Columns of the manifest that go with an image's vector."""
Pixels = NDArray[np.uint8]


class Images(Protocol):
    """Images in a fixed order, with a row about each."""

    unusable: int
    """Images left out so far, each of them named on standard error."""

    def __len__(self) -> int: ...

    def chunks(self) -> Iterator[tuple[pd.DataFrame, Pixels]]:
        """Yield rows (n) about some images and their pixels (n, C, H, W)."""

    def pixels(self, about: pd.DataFrame) -> Pixels:
        """Return the pixels (n, C, H, W) of images by rows that ``chunks`` handed over."""


class FileImages:
    """Image files, as a model takes them; one that cannot be read is named and left out."""

    def __init__(self, files: list[Path], model: LoadedModel) -> None:
        self.files, self.model, self.unusable = files, model, 0

    def __len__(self) -> int:
        return len(self.files)

    def chunks(self) -> Iterator[tuple[pd.DataFrame, Pixels]]:
        """Yield the names of some files and their pixels."""
        for start in range(0, len(self.files), BATCH):
            names, pixels = [], []
            for file in self.files[start : start + BATCH]:
                try:
                    pixels.append(self.model.read(file))
                    names.append(str(file))
                except Unreadable as error:
                    self.unusable += 1
                    print(f"{printable(file)}: {error}", file=sys.stderr)
            stacked = np.stack(pixels) if pixels else np.empty((0, *self.model.shape), np.uint8)
            yield pd.DataFrame({"image": pd.Series(names, dtype=object)}), stacked

    def pixels(self, about: pd.DataFrame) -> Pixels:
        """Return the files' pixels, read again."""
        return np.stack([self.model.read(Path(name)) for name in about["image"]])


class PoolImages:
    """Readable images of the workspace's manifest, with their rows of it."""

    def __init__(self, model: LoadedModel, title: str) -> None:
        curated = paths.CURATED_MANIFEST
        path = curated if curated.is_file() else paths.POOL_MANIFEST
        manifest, self.store = Manifest.read(path), PixelStore.open()
        manifest.validate_against(self.store)
        if self.store.shape[1:] != model.shape:
            held, taken = (" × ".join(map(str, one)) for one in (self.store.shape[1:], model.shape))
            raise DataError(
                f"{title} takes {taken} pixels and {paths.POOL_PIXELS} holds {held}: give the image"
                " files themselves, or a model of these data"
            )
        rows = manifest.rows(manifest.ok)
        if not len(rows):
            raise DataError(f"{path} has no readable image")
        columns = [name for name in DESCRIBED if name in manifest.frame.columns]
        self.about, self.unusable = manifest.frame.loc[rows, columns], 0

    def __len__(self) -> int:
        return len(self.about)

    def chunks(self) -> Iterator[tuple[pd.DataFrame, Pixels]]:
        """Yield rows of the manifest and their pixels."""
        for start in range(0, len(self.about), BATCH):
            some = self.about.iloc[start : start + BATCH]
            yield some, self.pixels(some)

    def pixels(self, about: pd.DataFrame) -> Pixels:
        """Return the stored pixels of rows of the manifest."""
        return self.store.array(about.index.to_numpy(np.int64))


def printable(name: Path | str) -> str:
    """Return a file's name as valid text, whatever bytes the file system holds."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
