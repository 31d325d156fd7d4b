"""DenseCL: contrast of matching places of two views beside the contrast of whole images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import queue_nce
from stages.core.losses.dense import matched
from stages.core.models.heads import applied, mlp
from stages.core.training.queue import Queue
from stages.core.training.teacher import Teacher, rising
from stages.core.views.plan import two_views
from stages.pretrain.method import Auto, Losses, Method, MethodSettings, method, sized


@method(
    "densecl",
    paper="Dense Contrastive Learning for Self-Supervised Visual Pre-Training, 2020",
    kind="dense",
    needs=("maps",),
)
class DenseCL(Method):
    """Momentum contrast at two levels; places match where backbone features are most alike."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        dense: float = 0.5
        momentum: float = 0.99
        queue: Auto = "auto"
        projector: tuple[int, ...] = (512, 128)

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.projector = mlp((backbone.num_features, *settings.projector), seed, "projector")
        self.dense = mlp((backbone.map_channels, *settings.projector), seed, "dense")
        self.teacher = Teacher(backbone, self.projector, self.dense)
        size = sized(settings.queue, images, 0.5, 32, 65536, "queues")
        queues = [Queue(size, settings.projector[-1], seed, level) for level in ("image", "place")]
        self.queues = nn.ModuleList(queues)

    def forward(self, views: Views) -> Losses:
        """Queries of the first view, keys of the second."""
        own, (first, second) = self.settings, views.whole
        pooled, grid = self.backbone.features_and_places(first.images)
        image, places = self.projector(self.noted(pooled)), applied(grid, self.dense)
        backbone, projector, dense = self.teacher
        with torch.no_grad():
            pooled, key_grid = backbone.features_and_places(second.images)  # type: ignore[operator]
            key, key_places = projector(pooled), applied(key_grid, dense)
            partner = matched(grid.detach(), key_grid)
            pairs = key_places.gather(1, partner.unsqueeze(2).expand_as(key_places))
        queues: list[Any] = list(self.queues)
        whole = queue_nce(image, key, queues[0].rows, own.temperature)
        flat, target = places.flatten(0, 1), pairs.flatten(0, 1)
        local = queue_nce(flat, target, queues[1].rows, own.temperature)
        queues[0].hold(key)
        queues[1].hold(key_places.mean(dim=1))
        return {"loss": (1 - own.dense) * whole + own.dense * local, "dense_loss": local}

    def after_step(self, progress: float) -> None:
        """The teacher follows, its keys enter the queues."""
        momentum = rising(self.settings.momentum, progress)
        self.teacher.follow(self.backbone, self.projector, self.dense, momentum=momentum)
        for queue in self.queues:
            queue.advance()  # type: ignore[operator]
