"""Individualised temperature: each image has its own, from a robust contrastive loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import robust_contrast
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "individual_temperature",
    paper=(
        "Not All Semantics are Created Equal: Contrastive Self-supervised Learning with Automatic "
        "Temperature Individualization, 2023"
    ),
    kind="contrastive",
)
class IndividualTemperature(Projected):
    """SimCLR with a temperature for each image, higher where images resemble many others."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        radius: float = 0.3
        memory: float = 0.9
        step: float = 0.02
        projector: tuple[int, ...] = (512, 128)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.register_buffer("temperatures", torch.full((images,), settings.temperature))
        self.register_buffer("level", torch.zeros(images))
        self.temperatures: Tensor
        self.level: Tensor
        self.held: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, views: Views) -> Losses:
        """Contrast each image at its own temperature."""
        found = robust_contrast(
            *self.embeddings(views),
            views.index,
            self.temperatures,
            self.level,
            self.settings.memory,
            self.settings.radius,
        )
        self.held.append((found.index, found.level, found.slope))
        return {"loss": found.loss, "temperature": self.temperatures.mean()}

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Temperatures and running levels of the images seen move."""
        for index, level, slope in self.held:
            self.level[index] = level.to(self.level)
            moved = self.temperatures[index] - self.settings.step * slope.to(self.temperatures)
            self.temperatures[index] = moved.clamp(0.05, 1.0)
        self.held.clear()
