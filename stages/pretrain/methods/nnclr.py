"""NNCLR: the positive is the nearest neighbour of the other view in a queue of earlier images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import info_nce, unit
from stages.core.models.heads import predictor
from stages.core.training.queue import Queue
from stages.pretrain.method import Auto, Losses, MethodSettings, Projected, method, sized


@method(
    "nnclr",
    paper="With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual "
    "Representations, 2021",
    kind="contrastive",
)
class NNCLR(Projected):
    """Contrast beyond the single image."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        queue: Auto = "auto"
        projector: tuple[int, ...] = (512, 128)
        predictor: int = 512

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        width = settings.projector[-1]
        self.predictor = predictor(width, settings.predictor, seed, "predictor")
        size = sized(settings.queue, images, 0.5, 32, 65536, "queue")
        self.queue = Queue(size, width, seed)

    def forward(self, views: Views) -> Losses:
        """Predictions of one view find the neighbours of the other."""
        embeddings = self.projected(views.images)
        first, second = embeddings.chunk(2)
        from_first, from_second = self.predictor(embeddings).chunk(2)
        there = info_nce(self._neighbours(first), from_second, self.settings.temperature)
        back = info_nce(self._neighbours(second), from_first, self.settings.temperature)
        self.queue.hold(first)
        return {"loss": (there + back) / 2}

    @torch.no_grad()
    def _neighbours(self, z: Tensor) -> Tensor:
        rows = self.queue.rows
        return rows[(unit(z) @ unit(rows).T).argmax(dim=1)]

    def after_step(self, progress: float) -> None:
        """Embeddings enter the queue."""
        self.queue.advance()
