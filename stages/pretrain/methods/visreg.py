"""VISReg: views agree, dimensions keep their scale, sliced distributions are Gaussian."""

from __future__ import annotations

from typing import Any

import torch

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.redundancy import scale_gap, sliced_gaussian
from stages.core.losses.regression import centre_gap
from stages.core.training.draws import Draws
from stages.core.views.plan import multi_crop
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "visreg",
    paper="VISReg: Variance-Invariance-Sketching Regularization for JEPA training, 2026",
    kind="negative-free",
)
class VISReg(Projected):
    """Variance for the scale, a sliced Wasserstein distance for the shape."""

    class Settings(MethodSettings):
        invariance: float = 1.0
        variance: float = 1.0
        shape: float = 1.0
        directions: int = 256
        projector: tuple[int, ...] = (512, 64)

    views = multi_crop(local=4)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.draws = Draws(seed, "directions")

    def forward(self, views: Views) -> Losses:
        """The weighted mean of the three terms, the last two of each view."""
        own, width = self.settings, self.settings.projector[-1]
        embeddings = self.crops(views)
        directions = self.draws.directions(width, own.directions)
        agreement = centre_gap(embeddings, len(views.whole))
        scale = torch.stack([scale_gap(z) for z in embeddings]).mean()
        shape = torch.stack([sliced_gaussian(z, directions) for z in embeddings]).mean()
        loss = own.invariance * agreement + own.variance * scale + own.shape * shape
        total = own.invariance + own.variance + own.shape
        return {
            "loss": loss / total,
            "agreement": agreement,
            "scale_gap": scale,
            "shape_gap": shape,
        }

    def after_step(self, progress: float) -> None:
        """New directions."""
        self.draws.advance()
