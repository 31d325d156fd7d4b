"""Rotation: by how many quarter turns was the image rotated?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.classification import mean_cross_entropy
from stages.core.models.heads import linear
from stages.core.views.plan import one_view
from stages.core.views.tiles import turned
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "rotation",
    paper="Unsupervised Representation Learning by Predicting Image Rotations, 2018",
    kind="pretext",
)
class Rotation(Method):
    """A classifier of four turns on pooled features."""

    class Settings(MethodSettings):
        pass

    views = replace(one_view(), chances=1)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.classifier = linear(backbone.num_features, 4, seed, "classifier")

    def forward(self, views: Views) -> Losses:
        """Cross entropy; accuracy is logged."""
        assert views.chances is not None
        quarters = (4 * views.chances[:, 0]).long()
        logits = self.classifier(self.features(turned(views.images, quarters)))
        right = (logits.detach().argmax(dim=1) == quarters).float().mean()
        return {"loss": mean_cross_entropy(logits, quarters), "rotation_accuracy": right}
