"""PIRL: an image and its shuffled tiles have the same embedding, among those of all images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import instance_cross_entropy
from stages.core.models.heads import linear
from stages.core.training.queue import Bank
from stages.core.views.plan import one_view
from stages.core.views.tiles import tiles
from stages.pretrain.method import Losses, Method, MethodSettings, method

SIDE = 2
"""Tiles per side: few, so that tiles of small images still show something."""


@method(
    "pirl",
    paper="Self-Supervised Learning of Pretext-Invariant Representations, 2019",
    kind="pretext",
)
class PIRL(Method):
    """Jigsaw as an invariance instead of a task; a memory bank holds the images' embeddings."""

    class Settings(MethodSettings):
        temperature: float = 0.1
        momentum: float = 0.5
        jigsaw: float = 0.5
        width: int = 128

    views = replace(one_view(), chances=SIDE**2)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        features = backbone.num_features
        self.projector = linear(features, settings.width, seed, "projector")
        self.joiner = linear(SIDE**2 * features, settings.width, seed, "joiner")
        self.bank = Bank(images, settings.width, seed)

    def forward(self, views: Views) -> Losses:
        """The whole image, and its tiles in random order, both find the image in the bank."""
        assert views.chances is not None
        own, order = self.settings, views.chances.argsort(dim=1)
        whole = self.projected(views.images)
        parts = self.backbone(tiles(views.images, SIDE).flatten(0, 1))
        parts = parts.reshape(*order.shape, -1)
        shuffled = parts.gather(1, order.unsqueeze(2).expand_as(parts))
        joined = self.joiner(shuffled.flatten(1))
        one = instance_cross_entropy(whole, self.bank.rows, views.index, own.temperature)
        other = instance_cross_entropy(joined, self.bank.rows, views.index, own.temperature)
        self.bank.hold(views.index, whole)
        return {"loss": (1 - own.jigsaw) * one + own.jigsaw * other, "jigsaw_loss": other}

    def after_step(self, progress: float) -> None:
        """The bank follows."""
        self.bank.advance(self.settings.momentum)
