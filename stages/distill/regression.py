"""Feature regression: a small network learns to say what a large one says about an image.

"SimReg: Regression as a Simple Yet Effective Tool for Self-supervised Knowledge Distillation"
(2021): the student predicts the teacher's features through an MLP head that is thrown away, and is
compared on the unit sphere. Both see the same view ("Knowledge distillation: A good teacher is
patient and consistent", 2022).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from stages.core.compute import device
from stages.core.image.backbones import Backbone
from stages.core.image.backbones import check_size as check_size
from stages.core.image.views.engine import Views
from stages.core.metrics.representation import Array, normalise
from stages.core.random import address


class FeatureRegression(nn.Module):
    """Student and head, trained by the loop; the teacher stays outside, in eval mode, and is never
    saved with them.
    """

    def __init__(self, student: Backbone, teacher: Backbone, seed: int) -> None:
        super().__init__()
        self.student = student
        self.head = regression_head(student.num_features, teacher.num_features, seed)
        teacher.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._teacher = [teacher.eval().requires_grad_(False)]

    def forward(self, views: Views) -> dict[str, Tensor]:
        """``loss``: squared distance of unit vectors; ``cosine``: how near they are."""
        images = views.images
        with torch.no_grad():
            target = self._teacher[0](images).float()
        predicted = self.head(self.student(images)).float()
        loss = regression_loss(predicted, target)
        return {"loss": loss, "cosine": 1 - loss.detach() / 2}


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


def regression_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of (N, D) and (N, D) on the unit sphere: 2 − 2·cosine, between 0 and 4."""  # noqa: E501
    distance = nn.functional.normalize(predicted, dim=1) - nn.functional.normalize(target, dim=1)
    return distance.square().sum(dim=1).mean()


def explained(
    student: Array, teacher: Array, held_student: Array, held_teacher: Array, ridge: float = 1e-3
) -> Mapping[str, float]:
    """How well a linear map from the student's features (n, d) gives the teacher's (n, D) on
    held-out images.

    Returns ``r2`` (share of the variance of the teacher's unit features, 1 is all, and below 0 is
    worse than their mean) and ``cosine`` (mean similarity of mapped and true features).
    """
    x, y = normalise(student).astype(np.float64), normalise(teacher).astype(np.float64)
    centre_x, centre_y = x.mean(axis=0), y.mean(axis=0)
    x, y = x - centre_x, y - centre_y
    gram = x.T @ x
    weights = np.linalg.solve(
        gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram)), x.T @ y
    )
    truth = normalise(held_teacher).astype(np.float64)
    mapped = (normalise(held_student) - centre_x) @ weights + centre_y
    rest, spread = np.square(truth - mapped).sum(), np.square(truth - truth.mean(axis=0)).sum()
    cosine = (truth * mapped).sum(axis=1) / np.maximum(np.linalg.norm(mapped, axis=1), 1e-12)
    return {"r2": float(1 - rest / max(spread, 1e-12)), "cosine": float(cosine.mean())}
