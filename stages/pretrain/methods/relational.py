"""Relational reasoning: do two embeddings come from one image or from two?"""

from __future__ import annotations

from typing import Any

import torch

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.classification import pair_cross_entropy
from stages.core.models.heads import mlp
from stages.core.training.distributed import gather
from stages.core.views.plan import two_views
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "relational",
    paper="Self-Supervised Relational Reasoning for Representation Learning, 2020",
    kind="pretext",
)
class Relational(Method):
    """A binary classifier on pairs of features, joined end to end."""

    class Settings(MethodSettings):
        hidden: int = 256

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.relation = mlp((2 * backbone.num_features, settings.hidden, 1), seed, "relation")

    def forward(self, views: Views) -> Losses:
        """Pairs of one image, and as many of an image with the next of the batch."""
        first, second = map(gather, self.features(views.images).chunk(2))
        same = torch.cat([first, second], dim=1)
        other = torch.cat([first, second.roll(1, dims=0)], dim=1)
        scores = self.relation(torch.cat([same, other])).squeeze(1)
        right = (scores.detach() > 0).float().chunk(2)
        accuracy = (right[0].mean() + 1 - right[1].mean()) / 2
        return {"loss": pair_cross_entropy(*scores.chunk(2)), "relation_accuracy": accuracy}
