"""Features of all rows, computed once per content and encoder and mapped from a file afterwards."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from stages.core.data.manifest import Rows
from stages.core.image.pixel_store import give_back
from stages.core.io import atomic_file, canonical_json
from stages.core.progress import Progress
from stages.curate.encoder import NamedEncoder

BLOCK = 4096
RELEASED = 16
"""Blocks after which the pixels that were read are given back."""
PIECE = 2048
"""Rows read at a time. The system maps some 64 KiB around each, so pages are given back after every
piece: 128 MiB at most.
"""


class Features:
    """float16 on disk, float32 when asked: ``features(rows) → (n, D)``."""

    def __init__(self, stored: np.ndarray) -> None:
        self.stored = stored
        self._read = 0

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.stored.shape[1])

    def __call__(self, rows: Rows) -> Tensor:
        found = np.empty((len(rows), self.dimensions), np.float32)
        for first in range(0, len(rows), PIECE):
            part = slice(first, first + PIECE)
            found[part] = self.stored[rows[part]]
            self._read += len(found[part])
            if self._read >= PIECE:
                give_back(self.stored)
                self._read = 0
        return torch.from_numpy(found)


def embed(encode: NamedEncoder) -> Features:
    """Features of every readable row (zeros elsewhere), from the cache when these very images were
    encoded before.
    """
    source = encode.source
    manifest, store = source.manifest, source.store
    file = source.cache / f"features-{_key(encode)}.npy"
    if not file.is_file():
        rows = manifest.rows(manifest.ok)
        with atomic_file(file) as temporary:
            width = (
                encode(store.gather(rows[:1])).shape[1] if len(rows) else 1
            )  # prepares the encoder before the clock runs
            with Progress(f"curate: {encode.name}", len(rows), "images") as bar:
                stored = np.lib.format.open_memmap(
                    temporary, "w+", np.float16, (len(manifest), width)
                )
                for first in range(0, len(rows), BLOCK):
                    part = rows[first : first + BLOCK]
                    stored[part] = encode(store.gather(part)).numpy().astype(np.float16)
                    bar.advance(len(part))
                    if first // BLOCK % RELEASED == RELEASED - 1:
                        store.release()
                        give_back(stored)
                stored.flush()
            store.release()
    return Features(np.load(file, mmap_mode="r"))


def _key(encode: NamedEncoder) -> str:
    whole = hashlib.sha256(canonical_json([encode.identity(), encode.source.store.shape]).encode())
    manifest = encode.source.manifest
    for name in manifest.frame["id"].where(manifest.ok, "").fillna(""):
        whole.update(name.encode() + b"\n")
    return whole.hexdigest()[:32]
