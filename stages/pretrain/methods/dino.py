"""DINO: a student matches a teacher's distribution over prototypes, from any crop."""

from __future__ import annotations

from typing import Any

import torch

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.clustering import across_views, assignment_entropy
from stages.core.models.heads import Prototypes
from stages.core.training.assignment import Centre
from stages.core.training.teacher import Teacher, rising
from stages.core.views.plan import multi_crop
from stages.pretrain.method import Auto, Losses, MethodSettings, Projected, method, sized


@method(
    "dino",
    paper="Emerging Properties in Self-Supervised Vision Transformers, 2021",
    kind="clustering",
)
class DINO(Projected):
    """Self-distillation without labels; centring and sharpening prevent collapse."""

    class Settings(MethodSettings):
        temperature: float = 0.1
        teacher_temperature: float = 0.04
        momentum: float = 0.98
        centre_momentum: float = 0.9
        prototypes: Auto = "auto"
        projector: tuple[int, ...] = (512, 64)

    views = multi_crop(local=4)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        count = sized(settings.prototypes, images, 1 / 4, 32, 16384, "prototypes")
        self.prototypes = Prototypes(settings.projector[-1], count, seed)
        self.teacher = Teacher(backbone, self.projector, self.prototypes)
        self.centre = Centre(count, settings.centre_momentum)

    def forward(self, views: Views) -> Losses:
        """Every crop matches the teacher's view of every other full crop."""
        own, whole = self.settings, len(views.whole)
        students = [self.prototypes(z) for z in self.crops(views)]
        with torch.no_grad():
            targets = self.centre(self.teacher(views.images), own.teacher_temperature)
        used = assignment_entropy(targets)
        loss = across_views(students, targets.chunk(whole), own.temperature)
        return {"loss": loss, "assignment_entropy": used}

    def after_step(self, progress: float) -> None:
        """Teacher and centre follow."""
        momentum = rising(self.settings.momentum, progress)
        parts = self.backbone, self.projector, self.prototypes
        self.teacher.follow(*parts, momentum=momentum)
        self.centre.advance()
