"""BYOL: predict what a slowly moving average of the network sees in the other view."""

from __future__ import annotations

from typing import Any

import torch

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.regression import normalised_mse
from stages.core.models.heads import mlp, predictor
from stages.core.training.teacher import Teacher, rising
from stages.core.views.plan import two_views
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "byol",
    paper="Bootstrap your own latent: A new approach to self-supervised Learning, 2020",
    kind="negative-free",
)
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
        self.predictor = predictor(width, settings.predictor, seed, "predictor")
        self.teacher = Teacher(backbone, self.projector)

    def forward(self, views: Views) -> Losses:
        """Symmetric; the teacher sees the same two views."""
        predicted, again = self.predictor(self.projected(views.images)).chunk(2)
        with torch.no_grad():
            first, second = self.teacher(views.images).chunk(2)
        return {"loss": (normalised_mse(predicted, second) + normalised_mse(again, first)) / 2}

    def after_step(self, progress: float) -> None:
        """The teacher follows, ever more slowly."""
        momentum = rising(self.settings.momentum, progress)
        self.teacher.follow(self.backbone, self.projector, momentum=momentum)
