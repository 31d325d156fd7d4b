"""DirectPred: BYOL whose linear predictor is computed from the correlation of embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stages.core.compute import wide
from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.regression import normalised_mse
from stages.core.training.distributed import total, world
from stages.pretrain.method import Losses, MethodSettings, Taught, method


@method(
    "directpred",
    paper="Understanding self-supervised Learning Dynamics without Contrastive Pairs, 2021",
    kind="negative-free",
)
class DirectPred(Taught):
    """No gradient trains the predictor: it shares eigenvectors with the running correlation."""

    class Settings(MethodSettings):
        momentum: float = 0.99
        memory: float = 0.9
        boost: float = 0.1
        projector: tuple[int, ...] = (512, 128)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.register_buffer("correlation", torch.eye(settings.projector[-1]))
        self.correlation: Tensor
        self.held: list[Tensor] = []

    def forward(self, views: Views) -> Losses:
        """Symmetric, as in BYOL."""
        first, second = self.embeddings(views)
        predictor = direct_predictor(self.correlation, self.settings.boost).to(first.dtype)
        targets = self.taught(views)
        loss = normalised_mse(first @ predictor, targets[1])
        loss = (loss + normalised_mse(second @ predictor, targets[0])) / 2
        with torch.no_grad():
            seen = wide(torch.cat([first, second]).detach())
            self.held.append(total(seen.T @ seen / len(seen)) / world())
        return {"loss": loss}

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Teacher and correlation follow."""
        super().after_step(progress)
        for seen in self.held:
            kept = self.settings.memory * self.correlation
            moved = kept + (1 - self.settings.memory) * seen.to(self.correlation)
            self.correlation.copy_(torch.where(torch.isfinite(moved), moved, self.correlation))
        self.held.clear()


def direct_predictor(correlation: Tensor, boost: float) -> Tensor:
    """Return the symmetric ``(D, D)`` with the eigenvectors of ``correlation`` and eigenvalues
    √(s / max s) + ``boost``."""
    values, vectors = torch.linalg.eigh(correlation)
    relative = values.clamp(min=0) / values.max().clamp(min=1e-12)
    predictor: Tensor = vectors @ torch.diag(relative.sqrt() + boost) @ vectors.T
    return predictor
