"""I-JEPA: predict a teacher's features of hidden groups of patches from the visible ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.regression import feature_regression
from stages.core.models.heads import TokenDecoder
from stages.core.training.masking import hidden, kept, picked
from stages.core.training.teacher import Teacher, rising
from stages.core.views.plan import masked
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "ijepa",
    paper=(
        "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture, 2023"
    ),
    kind="masked",
    needs=("tokens",),
)
class IJEPA(Method):
    """Prediction in feature space. Hidden are three connected groups, equally large in all
    images.
    """

    class Settings(MethodSettings):
        ratio: float = 0.5
        momentum: float = 0.98
        predictor_width: int = 64
        predictor_depth: int = 1

    views = masked("groups", ratio=0.5)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.views = replace(self.views, mask_ratio=settings.ratio)
        width = backbone.num_features
        shape = backbone.grid, settings.predictor_width, settings.predictor_depth
        self.predictor = TokenDecoder(width, width, *shape, seed, "predictor")
        self.teacher = Teacher(backbone)

    def forward(self, views: Views) -> Losses:
        """Smooth L1 on hidden patches."""
        view = views.whole[0]
        mask, keep = hidden(view), kept(view, self.settings.ratio)
        gone = mask.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        gone = gone[:, : mask.shape[1] - keep.shape[1]]
        pooled, tokens = self.backbone.features_and_tokens(view.images, keep)
        self.noted(pooled)
        with torch.no_grad():
            target = self.teacher[0].tokens(view.images)  # type: ignore[operator]
        predicted = picked(self.predictor(tokens, keep), gone)
        return {"loss": feature_regression(predicted, picked(target, gone))}

    def after_step(self, progress: float) -> None:
        """The teacher follows."""
        momentum = rising(self.settings.momentum, progress)
        self.teacher.follow(self.backbone, momentum=momentum)
