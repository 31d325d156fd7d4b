"""MoCo v3: contrast of predictions with a teacher's keys in the batch, without a queue."""

from __future__ import annotations

from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import info_nce
from stages.core.models.heads import predictor
from stages.pretrain.method import Losses, MethodSettings, Taught, method


@method(
    "moco_v3",
    paper="An Empirical Study of Training Self-Supervised Vision Transformers, 2021",
    kind="contrastive",
)
class MoCoV3(Taught):
    """Momentum contrast with a predictor."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        momentum: float = 0.99
        projector: tuple[int, ...] = (512, 128)
        predictor: int = 512

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        width = settings.projector[-1]
        self.predictor = predictor(width, settings.predictor, seed, "predictor")

    def forward(self, views: Views) -> Losses:
        """Symmetric; times the temperature, so that gradients keep their size."""
        predicted = self.predictor(self.projected(views.images)).chunk(2)
        keys, temperature = self.taught(views), self.settings.temperature
        first = info_nce(predicted[0], keys[1], temperature)
        second = info_nce(predicted[1], keys[0], temperature)
        return {"loss": temperature * (first + second)}
