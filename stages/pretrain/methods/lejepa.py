"""LeJEPA: views predict their centre, embeddings are drawn towards an isotropic Gaussian."""

from __future__ import annotations

from typing import Any

import torch

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.redundancy import sigreg
from stages.core.losses.regression import centre_gap
from stages.core.training.draws import Draws
from stages.core.views.plan import multi_crop
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "lejepa",
    paper="LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics, 2025",
    kind="negative-free",
)
class LeJEPA(Projected):
    """One trade-off; no teacher, stop-gradient, predictor or queue."""

    class Settings(MethodSettings):
        gaussian: float = 0.05
        directions: int = 256
        projector: tuple[int, ...] = (512, 64)

    views = multi_crop(local=4)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.draws = Draws(seed, "directions")

    def forward(self, views: Views) -> Losses:
        """Distance to the centre of the full views, and SIGReg of each view."""
        weight, width = self.settings.gaussian, self.settings.projector[-1]
        embeddings = self.crops(views)
        agreement = centre_gap(embeddings, len(views.whole))
        directions = self.draws.directions(width, self.settings.directions)
        gaussian = torch.stack([sigreg(z, directions) for z in embeddings]).mean()
        loss = (1 - weight) * agreement + weight * gaussian
        return {"loss": loss, "agreement": agreement, "gaussian": gaussian}

    def after_step(self, progress: float) -> None:
        """New directions."""
        self.draws.advance()
