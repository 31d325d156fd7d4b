"""Mutual-information critics: maximise a lower bound on what two views tell of each other."""

from __future__ import annotations

from typing import Literal

import torch

from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import critic_scores, mutual_information
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "mutual_information",
    paper="On Mutual Information Maximization for Representation Learning, 2019",
    kind="contrastive",
)
class MutualInformation(Projected):
    """A critic of scaled cosines under one of three bounds; the estimate, in nats, is logged."""

    class Settings(MethodSettings):
        bound: Literal["infonce", "nwj", "jsd"] = "infonce"
        temperature: float = 0.2
        projector: tuple[int, ...] = (512, 128)

    def forward(self, views: Views) -> Losses:
        """Minus the bound; where that is no estimate (jsd), NWJ at the same critic is logged."""
        scores = critic_scores(*self.embeddings(views), self.settings.temperature)
        bound = mutual_information(scores, self.settings.bound)
        estimate = bound.detach()
        if self.settings.bound == "jsd":
            with torch.no_grad():
                estimate = mutual_information(scores + 1, "nwj")
        return {"loss": -bound, "mutual_information": estimate}
