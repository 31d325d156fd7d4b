"""ASCL: relations to a queue make soft targets, softer where they are clear."""

from __future__ import annotations

from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import soft_queue_nce
from stages.core.training.queue import Queue
from stages.pretrain.method import Auto, Losses, MethodSettings, Taught, method, sized


@method("soft_contrastive", paper="Adaptive Soft Contrastive Learning, 2022", kind="contrastive")
class SoftContrastive(Taught):
    """Momentum contrast with several positives for each image."""

    class Settings(MethodSettings):
        temperature: float = 0.1
        sharpened: float = 0.05
        neighbours: int = 5
        momentum: float = 0.99
        queue: Auto = "auto"
        projector: tuple[int, ...] = (512, 128)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        size = sized(settings.queue, images, 0.5, 32, 65536, "queue")
        self.queue = Queue(size, settings.projector[-1], seed)

    def forward(self, views: Views) -> Losses:
        """Each view finds the other's key and those near it."""
        own, (first, second), keys = self.settings, self.embeddings(views), self.taught(views)
        temperatures = own.temperature, own.sharpened
        there = soft_queue_nce(first, keys[1], self.queue.rows, temperatures, own.neighbours)
        back = soft_queue_nce(second, keys[0], self.queue.rows, temperatures, own.neighbours)
        self.queue.hold(keys[1])
        return {"loss": (there + back) / 2}

    def after_step(self, progress: float) -> None:
        """The teacher follows, its keys enter the queue."""
        super().after_step(progress)
        self.queue.advance()
