"""DINOv2's recipe: DINO and iBOT with a head each, Sinkhorn targets, spread by KoLeo."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.clustering import (
    across_views,
    assignment_entropy,
    koleo,
    masked_cross_entropy,
)
from stages.core.models.heads import Prototypes, applied, mask_token, mlp
from stages.core.training.assignment import sinkhorn
from stages.core.training.masking import hidden
from stages.core.training.teacher import Teacher, rising
from stages.core.views.plan import ViewPlan
from stages.pretrain.method import Auto, Losses, Method, MethodSettings, method, sized


@method(
    "dinov2",
    paper="DINOv2: Learning Robust Visual Features without Supervision, 2023",
    kind="clustering",
    needs=("tokens",),
)
class DINOv2(Method):
    """Images from any crop, hidden patches, and embeddings that keep away from each other."""

    class Settings(MethodSettings):
        temperature: float = 0.1
        teacher_temperature: float = 0.05
        spread: float = 0.1
        momentum: float = 0.98
        prototypes: Auto = "auto"
        projector: tuple[int, ...] = (512, 64)

    views = ViewPlan(whole=2, local=4, mask="block", mask_ratio=0.3)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        sizes = (backbone.num_features, *settings.projector)
        count = sized(settings.prototypes, images, 1 / 4, 32, 16384, "prototypes")
        names = ("image", "patch")
        self.heads = nn.ModuleList(
            nn.Sequential(mlp(sizes, seed, name), Prototypes(sizes[-1], count, seed, name))
            for name in names
        )
        self.mask_token = mask_token(backbone.num_features, seed)
        self.teacher = Teacher(backbone, *self.heads)

    def forward(self, views: Views) -> Losses:
        """Every crop matches the teacher's full crops, hidden patches its tokens."""
        own, mask = self.settings, torch.cat([hidden(view) for view in views.whole])
        pooled, tokens = self.backbone.features_and_tokens(
            views.images, hidden=mask, mask_token=self.mask_token
        )
        image_head, patch_head = ([*head.children()] for head in self.heads)
        small = self.backbone(torch.cat([view.images for view in views.local]))
        scores = applied(torch.cat([self.noted(pooled), small]), *image_head)
        students = scores.chunk(2 + len(views.local))
        backbone, *taught = self.teacher
        image_teacher, patch_teacher = ([*head.children()] for head in taught)
        with torch.no_grad():
            pooled_there, whole = backbone.features_and_tokens(views.images)  # type: ignore[operator]
            seen = applied(pooled_there, *image_teacher)
            image = [sinkhorn(part, own.teacher_temperature) for part in seen.chunk(2)]
            patch = sinkhorn(applied(whole, *patch_teacher).flatten(0, 1), own.teacher_temperature)
        patch = patch.reshape(*mask.shape, -1)
        local = masked_cross_entropy(applied(tokens, *patch_head), patch, mask, own.temperature)
        apart = torch.stack([koleo(part) for part in pooled.chunk(2)]).mean()
        match = across_views(students, image, own.temperature)
        used = assignment_entropy(seen.div(own.teacher_temperature).softmax(1))
        return {
            "loss": match + local + own.spread * apart,
            "koleo": apart,
            "assignment_entropy": used,
        }

    def after_step(self, progress: float) -> None:
        """The teacher follows."""
        momentum = rising(self.settings.momentum, progress)
        self.teacher.follow(self.backbone, *self.heads, momentum=momentum)
