"""Supervised: cross entropy on the labelled images of each batch. A control: labels may be used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stages.core.errors import DataError
from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.classification import labelled_cross_entropy
from stages.core.models.heads import linear, mlp
from stages.core.views.plan import one_view
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "supervised",
    paper="Revisiting the Transferability of Supervised Pretraining: an MLP Perspective, 2021",
    kind="control",
    needs=("labels",),
)
class Supervised(Method):
    """A linear classifier, by default on a projector that is thrown away and helps transfer."""

    class Settings(MethodSettings):
        projector: tuple[int, ...] = (512, 128)

    views = one_view()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        sizes = (backbone.num_features, *settings.projector)
        self.projector = (
            mlp(sizes, seed, "projector") if settings.projector else torch.nn.Identity()
        )
        self.register_buffer("labels", torch.full((images,), -1), persistent=False)
        self.labels: Tensor

    def learn_labels(self, labels: Tensor) -> None:
        """Keep the label of every image and make an output for every class."""
        if not (labels >= 0).any():
            raise DataError(
                "pretrain.method: supervised needs labels, and no pretraining image has one"
            )
        width = (self.backbone.num_features, *self.settings.projector)[-1]
        self.classifier = linear(width, int(labels.max()) + 1, self.seed, "classifier")
        self.labels = labels

    def forward(self, views: Views) -> Losses:
        """Images without a label count for nothing."""
        logits = self.classifier(self.projected(views.images))
        return {"loss": labelled_cross_entropy(logits, self.labels[views.index])}
