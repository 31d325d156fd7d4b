"""TiCo: views agree while embeddings avoid the directions that were common so far."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.redundancy import tico
from stages.pretrain.method import Losses, MethodSettings, Taught, method


@method(
    "tico",
    paper="TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual "
    "Representation Learning, 2022",
    kind="negative-free",
)
class TiCo(Taught):
    """A running covariance stands for a memory of negatives."""

    class Settings(MethodSettings):
        momentum: float = 0.99
        memory: float = 0.9
        contrast: float = 8.0
        projector: tuple[int, ...] = (512, 128)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        width = settings.projector[-1]
        self.register_buffer("covariance", torch.zeros(width, width))
        self.covariance: Tensor
        self.held: list[Tensor] = []

    def forward(self, views: Views) -> Losses:
        """Symmetric; the covariance is that of the student's embeddings."""
        own, (first, second), targets = self.settings, self.embeddings(views), self.taught(views)
        there, seen = tico(first, targets[1], self.covariance, own.memory, own.contrast)
        back, also = tico(second, targets[0], self.covariance, own.memory, own.contrast)
        self.held.append((seen + also) / 2)
        return {"loss": (there + back) / 2}

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Teacher and covariance follow."""
        super().after_step(progress)
        if self.held:
            moved = torch.stack(self.held).mean(dim=0).to(self.covariance)
            self.covariance.copy_(torch.where(torch.isfinite(moved), moved, self.covariance))
            self.held.clear()
