"""MSN: a view with missing patches is assigned as the teacher assigns the whole other view."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import View, Views
from stages.core.losses.clustering import (
    assignment_entropy,
    negative_mean_entropy,
    soft_cross_entropy,
)
from stages.core.models.heads import Prototypes
from stages.core.training.masking import kept
from stages.core.views.plan import masked
from stages.pretrain.method import Auto, Losses, MethodSettings, Taught, method, sized


@method(
    "msn",
    paper="Masked Siamese Networks for Label-Efficient Learning, 2022",
    kind="clustering",
    needs=("tokens",),
)
class MSN(Taught):
    """Masking in place of reconstruction; the mean assignment must use all prototypes."""

    class Settings(MethodSettings):
        temperature: float = 0.1
        sharpness: float = 0.025
        mean_entropy: float = 1.0
        momentum: float = 0.98
        prototypes: Auto = "auto"
        projector: tuple[int, ...] = (512, 128)

    views = masked("random", ratio=0.3, whole=2)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        count = sized(settings.prototypes, images, 1 / 16, 16, 1024, "prototypes")
        self.prototypes = Prototypes(settings.projector[-1], count, seed)

    def forward(self, views: Views) -> Losses:
        """Symmetric; prototypes are the student's for both."""
        own = self.settings
        features = torch.cat([self._seen(view) for view in views.whole])
        scores = self.prototypes(self.projector(self.noted(features)))
        with torch.no_grad():
            taught = self.prototypes(torch.cat(self.taught(views)[::-1]))
            targets = (taught / own.sharpness).softmax(dim=1)
        match = soft_cross_entropy(scores, targets, own.temperature)
        spread = negative_mean_entropy((scores / own.temperature).softmax(dim=1))
        used = assignment_entropy(targets)
        return {"loss": match + own.mean_entropy * spread, "assignment_entropy": used}

    def _seen(self, view: View) -> Tensor:
        return self.backbone.features_and_tokens(view.images, kept(view, self.views.mask_ratio))[0]
