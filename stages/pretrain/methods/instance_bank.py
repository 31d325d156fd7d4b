"""Non-parametric instance discrimination: a memory bank holds the embedding of every image."""

from __future__ import annotations

from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import instance_cross_entropy
from stages.core.models.heads import linear
from stages.core.training.queue import Bank
from stages.core.views.plan import one_view
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "instance_bank",
    paper="Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018",
    kind="contrastive",
)
class InstanceBank(Method):
    """Each image tells itself from all others by what it looked like an epoch ago."""

    class Settings(MethodSettings):
        temperature: float = 0.1
        momentum: float = 0.5
        width: int = 128

    views = one_view()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.projector = linear(backbone.num_features, settings.width, seed, "projector")
        self.bank = Bank(images, settings.width, seed)

    def forward(self, views: Views) -> Losses:
        """Softmax over the whole bank."""
        embedding = self.projected(views.images)
        self.bank.hold(views.index, embedding)
        temperature = self.settings.temperature
        return {"loss": instance_cross_entropy(embedding, self.bank.rows, views.index, temperature)}

    def after_step(self, progress: float) -> None:
        """The bank follows."""
        self.bank.advance(self.settings.momentum)
