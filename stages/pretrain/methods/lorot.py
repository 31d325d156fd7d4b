"""LoRot: beside a supervised loss, say which quadrant was rotated, and by how much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stages.core.errors import DataError
from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.classification import labelled_cross_entropy, mean_cross_entropy
from stages.core.models.heads import linear
from stages.core.views.plan import one_view
from stages.core.views.tiles import tiles, turned, untiled
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "lorot",
    paper="Tailoring Self-Supervision for Supervised Learning, 2022",
    kind="pretext",
    needs=("labels",),
)
class LoRot(Method):
    """Localisable rotation with a class for each of four quadrants and four turns."""

    class Settings(MethodSettings):
        rotation: float = 0.1

    views = replace(one_view(), chances=2)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.pretext = linear(backbone.num_features, 16, seed, "pretext")
        self.register_buffer("labels", torch.full((images,), -1), persistent=False)
        self.labels: Tensor

    def learn_labels(self, labels: Tensor) -> None:
        """Keep the label of every image and make an output for every class."""
        if not (labels >= 0).any():
            raise DataError("pretrain.method: lorot needs labels, and no pretraining image has one")
        outputs = int(labels.max()) + 1
        self.classifier = linear(self.backbone.num_features, outputs, self.seed, "classifier")
        self.labels = labels

    def forward(self, views: Views) -> Losses:
        """Both classifiers see the image with one quadrant turned."""
        assert views.chances is not None
        quadrant, quarters = (4 * views.chances).long().T
        cut = tiles(views.images, 2)
        rows = torch.arange(len(cut), device=cut.device)
        patch = turned(cut[rows, quadrant], quarters)
        features = self.features(untiled(cut.index_put((rows, quadrant), patch), 2))
        label = labelled_cross_entropy(self.classifier(features), self.labels[views.index])
        turn = mean_cross_entropy(self.pretext(features), 4 * quadrant + quarters)
        return {"loss": label + self.settings.rotation * turn, "rotation_loss": turn}
