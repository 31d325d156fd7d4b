"""Instance classification: every image its own class, seen through augmentation. The simplest
objective, and the control.
"""

from __future__ import annotations

from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import instance_cross_entropy
from stages.core.models.heads import linear
from stages.core.views.plan import two_views
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "instance",
    paper=(
        "Discriminative Unsupervised Feature Learning with Exemplar Convolutional Neural Networks,"
        " 2014"
    ),
    kind="control",
)
class Instance(Method):
    """A classifier over image numbers, on the directions of features."""

    class Settings(MethodSettings):
        temperature: float = 0.1

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.classifier = linear(backbone.num_features, images, seed, "classifier", bias=False)

    def forward(self, views: Views) -> Losses:
        """Cosine similarity to each image's own weight vector."""
        index = views.index.repeat(len(views.whole))
        return {
            "loss": instance_cross_entropy(
                self.features(views.images),
                self.classifier.weight,
                index,
                self.settings.temperature,
            )
        }
