"""SimSiam: predict one view's embedding from the other's; a stopped gradient is all that prevents
collapse.
"""

from __future__ import annotations

from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.regression import normalised_mse
from stages.core.models.heads import mlp, predictor
from stages.core.views.plan import two_views
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "simsiam",
    paper="Exploring Simple Siamese Representation Learning, 2020",
    kind="negative-free",
)
class SimSiam(Method):
    """Siamese prediction without negatives, momentum or large batches."""

    class Settings(MethodSettings):
        projector: tuple[int, ...] = (512, 512)
        predictor: int = 128

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        width = settings.projector[-1]
        self.projector = mlp(
            (backbone.num_features, *settings.projector), seed, "projector", last_norm=True
        )
        self.predictor = predictor(width, settings.predictor, seed, "predictor")

    def forward(self, views: Views) -> Losses:
        """Symmetric: each view predicts the other."""
        embeddings = self.projected(views.images)
        first, second = embeddings.chunk(2)
        from_first, from_second = self.predictor(embeddings).chunk(2)
        return {
            "loss": (normalised_mse(from_first, second) + normalised_mse(from_second, first)) / 2
        }
