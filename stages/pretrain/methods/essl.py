"""E-SSL: SimCLR's invariance for some changes, sensitivity to rotation beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.classification import mean_cross_entropy
from stages.core.losses.contrastive import nt_xent
from stages.core.models.heads import mlp
from stages.core.views.plan import two_views
from stages.core.views.tiles import turned
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method("essl", paper="Equivariant Contrastive Learning, 2021", kind="pretext")
class ESSL(Projected):
    """Invariant and equivariant at once: a second head says by how much a third pass was turned."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        rotation: float = 0.4
        projector: tuple[int, ...] = (512, 128)
        predictor: int = 256

    views = replace(two_views(), chances=1)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.classifier = mlp((backbone.num_features, settings.predictor, 4), seed, "classifier")

    def forward(self, views: Views) -> Losses:
        """NT-Xent of two views, and the rotation of the first."""
        assert views.chances is not None
        quarters = (4 * views.chances[:, 0]).long()
        contrast = nt_xent(*self.embeddings(views), self.settings.temperature)
        logits = self.classifier(self.backbone(turned(views.whole[0].images, quarters)))
        rotation = mean_cross_entropy(logits, quarters)
        right = (logits.detach().argmax(dim=1) == quarters).float().mean()
        loss = contrast + self.settings.rotation * rotation
        return {"loss": loss, "rotation_loss": rotation, "rotation_accuracy": right}
