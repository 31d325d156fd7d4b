"""A wavelet scattering transform: texture, edges and colour without learning anything from labels
or by gradient.

Its 1,500 coefficients are standardised and projected on at most 256 principal components of a
sample of these very images, each divided by the fourth root of its variance: between plain and
whitened components, which is where neighbours agree best.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stages.core.data.manifest import Rows
from stages.core.errors import DataError
from stages.core.image.pixel_store import PixelStore
from stages.core.io import atomic_file
from stages.core.random import numpy_generator
from stages.core.training.checkpoint import digest
from stages.curate.encoder import Encode, Source
from stages.curate.scattering import scatter

VERSION = 1
COMPONENTS = 256
SAMPLE = 8192
BLOCK = 256


def identity(source: Source, argument: str) -> str:
    """The images the projection is fitted to."""
    return digest(source.manifest.frame["id"].iloc[_sample(source)].tolist())


def prepare(source: Source, argument: str) -> Encode:
    """Fit the projection, or read it where it was fitted to these images before."""
    file = source.cache / f"scattering-{VERSION}-{identity(source, argument)[:32]}.safetensors"
    if not file.is_file():
        rows = _sample(source)
        if not len(rows):
            raise DataError("curate.encoder: scattering: there is no image to fit it to")
        with atomic_file(file) as temporary:
            save_file(fit(_scattered(source.store, rows)), temporary)
    fitted = load_file(file)

    def encode(images: Tensor) -> Tensor:
        return torch.cat(
            [
                project(scatter(images[first : first + BLOCK]), fitted)
                for first in range(0, len(images), BLOCK)
            ]
        )

    return encode


def fit(coefficients: Tensor) -> dict[str, Tensor]:
    """Mean and projection ``(D, d)`` of coefficients ``(n, D)``; d is at most 256 and under n."""
    mean = coefficients.mean(0)
    scale = coefficients.std(0, correction=0)
    scale = torch.where(scale > 1e-6, 1 / scale.clamp(min=1e-6), torch.zeros(()))
    standard = ((coefficients - mean) * scale).double()
    variance, axes = torch.linalg.eigh(standard.T @ standard / len(standard))
    count = max(1, min(COMPONENTS, len(coefficients) - 1, int((variance > 1e-6).sum())))
    variance, axes = variance.flip(0)[:count].clamp(min=1e-6), axes.flip(1)[:, :count]
    axes = axes * torch.sign(
        axes.gather(0, axes.abs().argmax(0, keepdim=True))
    )  # an eigenvector's sign is nobody's choice
    projection = scale[:, None] * (axes / variance**0.25).float()
    return {"mean": mean, "projection": projection.contiguous()}


def project(coefficients: Tensor, fitted: dict[str, Tensor]) -> Tensor:
    """Coefficients ``(n, D)`` → features ``(n, d)``."""
    return (coefficients - fitted["mean"]) @ fitted["projection"]


def _sample(source: Source) -> Rows:
    rows = source.manifest.rows(source.manifest.ok)
    if len(rows) <= SAMPLE:
        return rows
    return np.sort(numpy_generator(source.seed, "scattering").permutation(rows)[:SAMPLE])


def _scattered(store: PixelStore, rows: Rows) -> Tensor:
    parts: list[Any] = [
        scatter(store.gather(rows[first : first + BLOCK])) for first in range(0, len(rows), BLOCK)
    ]
    return torch.cat(parts)
