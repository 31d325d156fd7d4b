"""SimCLR: two views of an image attract, all other images of the batch repel."""

from __future__ import annotations

from typing import Any

from stages.core.backbones import Backbone
from stages.core.views.engine import Views
from stages.core.views.plan import two_views
from stages.pretrain.losses import nt_xent
from stages.pretrain.method import Losses, Method, MethodSettings, method, mlp


@method("simclr", paper="A Simple Framework for Contrastive Learning of Visual Representations, 2020")
class SimCLR(Method):
    """Contrast within the batch."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        projector: tuple[int, ...] = (512, 128)

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.projector = mlp((backbone.num_features, *settings.projector), seed, "projector")

    def forward(self, views: Views) -> Losses:
        """One pass over both views, so that batch norm sees them together."""
        first, second = self.projector(self.features(views.images)).chunk(2)
        return {"loss": nt_xent(first, second, self.settings.temperature)}
