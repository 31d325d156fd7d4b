"""What the encoder is worth while it trains: clean images, eval mode, a fresh bank each time; the
test split is never seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from stages.core.data.manifest import Manifest
from stages.core.image.backbones import Backbone
from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.metrics.representation import knn_predict, normalise, rankme
from stages.core.models.artifact import Encoder
from stages.core.random import numpy_generator
from stages.core.training.guards import Diverged

BANK, QUERIES, SAMPLE = 2048, 1024, 1024
"""Images looked at: enough for a stable curve, few enough to cost next to nothing."""
NEIGHBOURS = 20


@dataclass(frozen=True)
class Probe:
    """Images to look at, held as uint8, and their labels. ``bank`` or ``queries`` may be empty:
    then there is no kNN.
    """

    bank: Tensor
    bank_labels: np.ndarray
    queries: Tensor
    query_labels: np.ndarray
    sample: Tensor

    @classmethod
    def of(cls, manifest: Manifest, store: PixelStore, seed: int) -> Probe:
        """Labelled training images as bank, validation images as queries, and a sample of the
        pretraining images.
        """
        bank = _some(manifest.labelled_rows("train"), BANK, seed, "bank")
        queries = _some(manifest.labelled_rows("val"), QUERIES, seed, "queries")
        sample = _some(manifest.pretraining_rows(), SAMPLE, seed, "sample")
        return cls(
            store.gather(bank),
            manifest.labels(bank),
            store.gather(queries),
            manifest.labels(queries),
            store.gather(sample),
        )

    @property
    def images(self) -> int:
        """How many images one look encodes."""
        return len(self.bank) + len(self.queries) + len(self.sample)

    def of_backbone(
        self, backbone: Backbone, preprocess: Preprocess
    ) -> Callable[[], dict[str, float | None]]:
        """The probe as the loop calls it."""
        encoder = Encoder(backbone, preprocess, {})

        def look() -> dict[str, float | None]:
            with attention(backbone) as entropies:
                found: dict[str, float | None] = {**self(encoder.encode)}
            return {**found, "attention_entropy": _mean(entropies)} if entropies else found

        return look

    def __call__(self, encode: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """``knn`` accuracy on validation images (where there are labels), ``rankme`` and
        ``feature_variance`` of the sample.

        Raises:
            Diverged: the features are no numbers.
        """
        features = encode(self.sample).numpy()
        if not np.isfinite(features).all():
            raise Diverged("features of clean images are no numbers any more")
        found = {
            "rankme": rankme(features),
            "feature_variance": float(normalise(features).var(axis=0).sum()),
        }
        knn = self.knn(encode)
        return found if knn is None else {**found, "knn": knn}

    def knn(self, encode: Callable[[Tensor], Tensor]) -> float | None:
        """Accuracy of kNN on the validation images; None without labels."""
        if not len(self.bank) or not len(self.queries):
            return None
        bank, queries = encode(self.bank).numpy(), encode(self.queries).numpy()
        predicted = knn_predict(bank, self.bank_labels, queries, NEIGHBOURS)
        return float((predicted == self.query_labels).mean())

    def raw_pixels(self) -> dict[str, float]:
        """The same on pixels: what learning must beat."""
        return self(as_pixels)

    def shown(self) -> tuple[Tensor, np.ndarray]:
        """Images for a map, and their labels: the validation images; where none has a label, the
        sample, which is given none.
        """
        if len(self.queries):
            return self.queries, self.query_labels
        return self.sample, np.full(len(self.sample), -1)


def as_pixels(images: Tensor) -> Tensor:
    """uint8 images ``(N, C, H, W)`` as features ``(N, C * H * W)``."""
    return images.flatten(1).float() / 255


@contextmanager
def attention(backbone: Backbone) -> Iterator[list[float]]:
    """Collect the entropy of every attention map of a transformer, as a share of the largest
    possible (1: looks everywhere alike; near 0: every token at one other). A single token can only
    look at itself, which says nothing; networks without attention collect nothing.
    """
    entropies: list[float] = []

    def listen(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        weights = inputs[0].float()  # (N, heads, tokens, tokens)
        if weights.shape[-1] < 2:
            return
        entropies.append(
            float(
                -(weights * (weights + 1e-9).log()).sum(dim=-1).mean() / math.log(weights.shape[-1])
            )
        )

    heads: list[Any] = [
        module
        for module in backbone.modules()
        if hasattr(module, "fused_attn") and hasattr(module, "attn_drop")
    ]
    fused = [head.fused_attn for head in heads]
    handles = [head.attn_drop.register_forward_pre_hook(listen) for head in heads]
    for head in heads:
        head.fused_attn = False  # the fused kernel never shows its weights
    try:
        yield entropies
    finally:
        for head, before, handle in zip(heads, fused, handles, strict=True):
            head.fused_attn = before
            handle.remove()


def _mean(values: list[float]) -> float | None:
    """The mean of those that are numbers; None where there is none."""
    numbers = [value for value in values if math.isfinite(value)]
    return float(np.mean(numbers)) if numbers else None


def _some(rows: np.ndarray, most: int, seed: int, name: str) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(numpy_generator(seed, "probe", name).choice(rows, most, replace=False))
