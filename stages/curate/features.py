"""Features of all rows, computed once per content and encoder and mapped from a file afterwards."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.core import paths
from stages.core.io import atomic_file, canonical_json
from stages.core.manifest import Manifest, Rows
from stages.core.pixels import PixelStore
from stages.core.progress import Progress
from stages.core.registry import load

BLOCK = 4096


class Features:
    """float16 on disk, float32 when asked: ``features(rows) → (n, D)``."""

    def __init__(self, stored: np.ndarray) -> None:
        self.stored = stored

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.stored.shape[1])

    def __call__(self, rows: Rows) -> Tensor:
        return torch.from_numpy(self.stored[rows].astype(np.float32))


def embed(manifest: Manifest, store: PixelStore, encoder: str, cache: Path = paths.CACHE) -> Features:
    """Features of every readable row (zeros elsewhere), from the cache when these very images were encoded before."""
    name, _, argument = encoder.partition(":")
    module = load("stages.curate.encoders", name)
    file = cache / f"features-{_key(manifest, store, encoder, module.VERSION)}.npy"
    if not file.is_file():
        rows = manifest.rows(manifest.ok)
        with atomic_file(file) as temporary, Progress(f"curate: {encoder}", len(rows), "images") as bar:
            stored: np.ndarray | None = None
            for first in range(0, len(rows), BLOCK):
                part = rows[first : first + BLOCK]
                block = module.encode(store.gather(part), argument).numpy().astype(np.float16)
                if stored is None:
                    shape = (len(manifest), block.shape[1])
                    stored = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
                stored[part] = block
                bar.advance(len(part))
            if stored is None:
                np.save(temporary.open("wb"), np.zeros((len(manifest), 1), np.float16))
    return Features(np.load(file, mmap_mode="r"))


def _key(manifest: Manifest, store: PixelStore, encoder: str, version: int) -> str:
    whole = hashlib.sha256(canonical_json([encoder, version, store.shape]).encode())
    for name in manifest.frame["id"].fillna(""):
        whole.update(name.encode() + b"\n")
    return whole.hexdigest()[:32]
