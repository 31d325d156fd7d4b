"""Similarity distillation: the student gives each image the neighbours that the teacher gives it.

Paper: SEED: Self-supervised Distillation for Visual Representation, 2021. The neighbours are the
teacher's features of earlier batches and of the image itself; the paper's queue of 65,536 and its
temperatures are for ImageNet, the queue here is for thousands of images.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import log_softmax, normalize, softmax

from stages.core.image.backbones import Backbone
from stages.core.training.queue import Queue
from stages.distill.distillation import Distillation, DistillSettings


class Settings(DistillSettings):
    """Size of the queue, and the temperatures of the two distributions over it."""

    queue: Annotated[int, Field(ge=2)] = 1024
    student_temperature: Annotated[float, Field(gt=0)] = 0.2
    teacher_temperature: Annotated[float, Field(gt=0)] = 0.04


class Method(Distillation):
    """Cross entropy between the teacher's and the student's similarities to a queue."""

    def __init__(self, student: Backbone, teacher: Backbone, settings: Any, seed: int) -> None:
        super().__init__(student, teacher, settings, seed)
        self.queue = Queue(settings.queue, teacher.num_features, seed, "distill")

    def loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the loss against the queue as it was before this batch."""
        own = self.settings
        found = similarity_loss(
            predicted,
            target,
            self.queue.rows,
            own.student_temperature,
            own.teacher_temperature,
        )
        self.queue.hold(target)
        return found

    def after_step(self, progress: float) -> None:
        """Take the batch into the queue."""
        self.queue.advance()


def similarity_loss(
    predicted: Tensor,
    target: Tensor,
    queue: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Return the mean cross entropy of similarity distributions.

    Each image is compared with the queue (K, D) of the teacher's unit vectors and with the
    teacher's own vector of that image; ``predicted`` and ``target`` are (N, D).
    """
    student, teacher = normalize(predicted, dim=1), normalize(target, dim=1)

    def similarities(vectors: Tensor, temperature: float) -> Tensor:
        own = (vectors * teacher).sum(dim=1, keepdim=True)
        return torch.cat([own, vectors @ queue.to(vectors.dtype).T], dim=1) / temperature

    wanted = softmax(similarities(teacher, teacher_temperature), dim=1)
    found = log_softmax(similarities(student, student_temperature), dim=1)
    return -(wanted * found).sum(dim=1).mean()
