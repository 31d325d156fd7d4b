"""Distillation: what its methods share, a student with a head and a teacher that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from stages.core import plugins
from stages.core.compute import device
from stages.core.errors import ConfigError
from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.random import address
from stages.core.validation_errors import explain

METHODS = "stages.distill.methods"


class DistillSettings(BaseModel):
    """Base of the methods' settings: no unknown key, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Distillation(nn.Module):
    """Student and head, trained by the loop; the teacher stays outside, in eval mode, and is never
    saved with them.

    A method defines ``loss(predicted, target)`` on the head's outputs (N, D) and the teacher's
    features (N, D); its optional ``after_step`` runs after every update.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, student: Backbone, teacher: Backbone, settings: Any, seed: int) -> None:
        super().__init__()
        self.student, self.settings = student, settings
        self.renormalise(torch.ones(1), torch.zeros(1))
        self.head = regression_head(student.num_features, teacher.num_features, seed)
        teacher.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._teacher = [teacher.eval().requires_grad_(False)]

    def forward(self, views: Views) -> dict[str, Tensor]:
        """``loss``, and ``cosine``, how near the head comes to the teacher's features."""
        images = views.images
        with torch.no_grad():
            target = self._teacher[0](images * self.scale + self.shift).float()
        predicted = self.head(self.student(images)).float()
        cosine = nn.functional.cosine_similarity(predicted.detach(), target, dim=1).mean()
        return {"loss": self.loss(predicted, target), "cosine": cosine}

    def renormalise(self, scale: Tensor, shift: Tensor) -> None:
        """Say how views normalised for the student become views for the teacher, by channel."""
        for name, values in {"scale": scale, "shift": shift}.items():
            self.register_buffer(name, values.float().reshape(1, -1, 1, 1), persistent=False)

    def loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar."""
        raise TypeError(f"{type(self).__name__} defines no loss")


def create_method(
    name: str, values: Mapping[str, Any], student: Backbone, teacher: Backbone, seed: int
) -> Distillation:
    """Return the method called ``name`` with its settings.

    Raises:
        ConfigError: no such method, or a setting that it does not know.
    """
    module = plugins.load(METHODS, name)
    try:
        settings = module.Settings.model_validate(values)
    except ValidationError as error:
        said = explain(error, f"distill.settings ({name})", module.Settings)
        raise ConfigError(said) from None
    method: Distillation = module.Method(student, teacher, settings, seed)
    return method


def regression_head(width: int, target: int, seed: int) -> nn.Sequential:
    """Two layers with batch norm between, drawn from the seed."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(address(seed, "distill head"))
    head = nn.Sequential(
        nn.Linear(width, 2 * width),
        nn.BatchNorm1d(2 * width),
        nn.ReLU(),
        nn.Linear(2 * width, target),
    )
    torch.default_generator.set_state(state)
    return head
