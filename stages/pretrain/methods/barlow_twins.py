"""Barlow Twins: the two views' embeddings correlate dimension by dimension and not across."""

from __future__ import annotations

from typing import Any

from stages.core.backbones import Backbone
from stages.core.views.engine import Views
from stages.core.views.plan import two_views
from stages.pretrain.losses import barlow_twins
from stages.pretrain.method import Losses, Method, MethodSettings, method, mlp


@method("barlow_twins", paper="Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021")
class BarlowTwins(Method):
    """Redundancy reduction."""

    class Settings(MethodSettings):
        off_diagonal: float = 0.005
        projector: tuple[int, ...] = (512, 512)

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.projector = mlp((backbone.num_features, *settings.projector), seed, "projector")

    def forward(self, views: Views) -> Losses:
        """Divided by the width, so that the step size does not depend on it."""
        first, second = self.projector(self.features(views.images)).chunk(2)
        return {"loss": barlow_twins(first, second, self.settings.off_diagonal) / first.shape[1]}
