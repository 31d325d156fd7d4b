"""MoCo v2: contrast with a queue of keys from a slowly moving teacher."""

from __future__ import annotations

from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import queue_nce
from stages.core.training.queue import Queue
from stages.pretrain.method import Auto, Losses, MethodSettings, Taught, method, sized


@method(
    "moco_v2",
    paper="Improved Baselines with Momentum Contrastive Learning, 2020",
    kind="contrastive",
)
class MoCoV2(Taught):
    """Momentum contrast, both views as queries; negatives do not depend on the batch size."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        momentum: float = 0.99
        queue: Auto = "auto"
        projector: tuple[int, ...] = (512, 128)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        size = sized(settings.queue, images, 0.5, 32, 65536, "queue")
        self.queue = Queue(size, settings.projector[-1], seed)

    def forward(self, views: Views) -> Losses:
        """Each view finds the teacher's key of the other among the queue."""
        queries, keys = self.embeddings(views), self.taught(views)
        pairs = ((queries[0], keys[1]), (queries[1], keys[0]))
        both = [queue_nce(*pair, self.queue.rows, self.settings.temperature) for pair in pairs]
        for key in keys:
            self.queue.hold(key)
        return {"loss": (both[0] + both[1]) / 2}

    def after_step(self, progress: float) -> None:
        """The teacher follows, its keys enter the queue."""
        super().after_step(progress)
        self.queue.advance()
