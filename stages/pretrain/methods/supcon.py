"""SupCon: images with the same label are positives; images without one fall back on SimCLR."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import supervised
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "supcon", paper="Supervised Contrastive Learning, 2020", kind="contrastive", needs=("labels",)
)
class SupCon(Projected):
    """Contrast between classes within the batch."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        projector: tuple[int, ...] = (512, 128)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.register_buffer("labels", torch.full((images,), -1), persistent=False)
        self.labels: Tensor

    def learn_labels(self, labels: Tensor) -> None:
        """Keep the label of every image."""
        self.labels = labels.to(self.labels.device)

    def forward(self, views: Views) -> Losses:
        """Each view finds every image of its class."""
        first, second = self.embeddings(views)
        return {
            "loss": supervised(first, second, self.labels[views.index], self.settings.temperature)
        }
