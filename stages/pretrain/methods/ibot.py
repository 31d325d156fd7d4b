"""iBOT: DINO on whole images, and the same for hidden patches against the teacher's tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.clustering import across_views, assignment_entropy, masked_cross_entropy
from stages.core.models.heads import Prototypes, applied, mask_token, mlp
from stages.core.training.assignment import Centre
from stages.core.training.masking import hidden
from stages.core.training.teacher import Teacher, rising
from stages.core.views.plan import masked
from stages.pretrain.method import Auto, Losses, Method, MethodSettings, method, sized


@method(
    "ibot",
    paper="iBOT: Image BERT Pre-Training with Online Tokenizer, 2021",
    kind="clustering",
    needs=("tokens",),
)
class IBOT(Method):
    """Self-distillation of images and of hidden patches with one head."""

    class Settings(MethodSettings):
        temperature: float = 0.1
        teacher_temperature: float = 0.04
        momentum: float = 0.98
        centre_momentum: float = 0.9
        prototypes: Auto = "auto"
        projector: tuple[int, ...] = (512, 64)

    views = masked("block", ratio=0.3, whole=2)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        width = backbone.num_features
        count = sized(settings.prototypes, images, 1 / 4, 32, 8192, "prototypes")
        self.projector = mlp((width, *settings.projector), seed, "projector")
        self.prototypes = Prototypes(settings.projector[-1], count, seed)
        self.mask_token = mask_token(width, seed)
        self.teacher = Teacher(backbone, self.projector, self.prototypes)
        self.centres = nn.ModuleList([Centre(count, settings.centre_momentum) for _ in range(2)])

    def forward(self, views: Views) -> Losses:
        """The student sees hidden patches as the mask token, the teacher sees them all."""
        own, mask = self.settings, torch.cat([hidden(view) for view in views.whole])
        pooled, tokens = self.backbone.features_and_tokens(
            views.images, hidden=mask, mask_token=self.mask_token
        )
        images = applied(self.noted(pooled), self.projector, self.prototypes)
        patches = applied(tokens, self.projector, self.prototypes)
        backbone, *head = self.teacher
        with torch.no_grad():
            seen, all_tokens = backbone.features_and_tokens(views.images)  # type: ignore[operator]
            image = self.centres[0](applied(seen, *head), own.teacher_temperature)
            patch = self.centres[1](applied(all_tokens, *head), own.teacher_temperature)
        whole = across_views(images.chunk(2), image.chunk(2), own.temperature)
        local = masked_cross_entropy(patches, patch, mask, own.temperature)
        used = assignment_entropy(image)
        return {"loss": (whole + local) / 2, "patch_loss": local, "assignment_entropy": used}

    def after_step(self, progress: float) -> None:
        """Teacher and centres follow."""
        momentum = rising(self.settings.momentum, progress)
        parts = self.backbone, self.projector, self.prototypes
        self.teacher.follow(*parts, momentum=momentum)
        for centre in self.centres:
            centre.advance()  # type: ignore[operator]
