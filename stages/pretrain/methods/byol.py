"""BYOL: predict what a slowly moving average of the network sees in the other view."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.views.plan import two_views
from stages.pretrain.losses import negative_cosine
from stages.pretrain.method import Losses, Method, MethodSettings, method, mlp


@method("byol", paper="Bootstrap your own latent: A new approach to self-supervised Learning, 2020")
class BYOL(Method):
    """An online network, its moving average as teacher, and a predictor."""

    class Settings(MethodSettings):
        momentum: float = 0.99
        projector: tuple[int, ...] = (512, 128)
        predictor: int = 512

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        width = settings.projector[-1]
        self.projector = mlp((backbone.num_features, *settings.projector), seed, "projector")
        self.predictor = mlp((width, settings.predictor, width), seed, "predictor")
        self.teacher = nn.Sequential(deepcopy(backbone), deepcopy(self.projector)).requires_grad_(
            False
        )

    def forward(self, views: Views) -> Losses:
        """Symmetric; the teacher sees the same two views."""
        predicted, again = self.predictor(self.projector(self.features(views.images))).chunk(2)
        with torch.no_grad():
            first, second = self.teacher(views.images).chunk(2)
        return {"loss": (negative_cosine(predicted, second) + negative_cosine(again, first)) / 2}

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The teacher follows, ever more slowly."""
        momentum = 1 - (1 - self.settings.momentum) * (math.cos(math.pi * progress) + 1) / 2
        online = nn.Sequential(self.backbone, self.projector)
        for old, new in zip(self.teacher.parameters(), online.parameters(), strict=True):
            old.lerp_(new, 1 - momentum)
