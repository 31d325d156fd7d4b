"""SlotCon: places are grouped into slots, and the slots of two views are contrasted."""

from __future__ import annotations

from typing import Any

import torch

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.image.views.overlap import partners
from stages.core.losses.clustering import assignment_entropy
from stages.core.losses.dense import aligned_cross_entropy, present, slot_nce, slots
from stages.core.models.heads import Prototypes, applied, mlp, predictor
from stages.core.training.assignment import Centre
from stages.core.training.teacher import Teacher, rising
from stages.core.views.plan import two_views
from stages.pretrain.method import Auto, Losses, Method, MethodSettings, method, sized


@method(
    "slotcon",
    paper="Self-Supervised Visual Representation Learning with Semantic Grouping, 2022",
    kind="dense",
    needs=("maps",),
)
class SlotCon(Method):
    """Prototypes become slots of an image; the same place of two views belongs to the same slot."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        student_temperature: float = 0.1
        teacher_temperature: float = 0.07
        grouping: float = 0.5
        momentum: float = 0.99
        centre_momentum: float = 0.9
        prototypes: Auto = "auto"
        projector: tuple[int, ...] = (512, 128)
        predictor: int = 512

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        channels, width = backbone.map_channels, settings.projector[-1]
        count = sized(settings.prototypes, images, 1 / 32, 8, 2048, "prototypes")
        self.projector = mlp((channels, *settings.projector), seed, "projector")
        self.prototypes = Prototypes(width, count, seed)
        self.predictor = predictor(width, settings.predictor, seed, "predictor")
        self.teacher = Teacher(backbone, self.projector, self.prototypes)
        self.centre = Centre(count, settings.centre_momentum)

    def forward(self, views: Views) -> Losses:
        """Grouping of places that both views show, and contrast of slots; symmetric."""
        own = self.settings
        pooled, grid = self.backbone.features_and_places(views.images)
        self.noted(pooled)
        places = applied(grid, self.projector)
        scores = self.prototypes(places)
        backbone, projector, prototypes = self.teacher
        with torch.no_grad():
            _, grid = backbone.features_and_places(views.images)  # type: ignore[operator]
            keys = applied(grid, projector)
            target = self.centre(prototypes(keys), own.teacher_temperature)
        guess = (scores / own.student_temperature).softmax(dim=2)
        found = applied(slots(places, guess), self.predictor)
        cells, size = round(places.shape[1] ** 0.5), views.images.shape[-1]
        total = torch.zeros((), device=scores.device)
        for one, other in ((0, 1), (1, 0)):
            place, inside = partners(views.whole[one].warp, views.whole[other].warp, size, cells)
            goal = target.chunk(2)[other]
            group = aligned_cross_entropy(
                scores.chunk(2)[one], goal, place, inside, own.student_temperature
            )
            shown, known = present(guess.chunk(2)[one]), present(goal)
            there = slots(keys.chunk(2)[other], goal)
            contrast = slot_nce(found.chunk(2)[one], there, shown, known, own.temperature)
            total = total + own.grouping * group + (1 - own.grouping) * contrast
        return {"loss": total / 2, "assignment_entropy": assignment_entropy(target)}

    def after_step(self, progress: float) -> None:
        """Teacher and centre follow."""
        momentum = rising(self.settings.momentum, progress)
        parts = self.backbone, self.projector, self.prototypes
        self.teacher.follow(*parts, momentum=momentum)
        self.centre.advance()
