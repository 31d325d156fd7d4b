"""Feature regression: the student predicts the teacher's features through a head that is dropped.

Papers: SimReg: Regression as a Simple Yet Effective Tool for Self-supervised Knowledge
Distillation, 2021; both networks see the same view, as in Knowledge Distillation: A Good Teacher Is
Patient and Consistent, 2022.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from stages.distill.distillation import Distillation, DistillSettings


class Settings(DistillSettings):
    """None: the two vectors are compared on the unit sphere."""


class Method(Distillation):
    """Feature regression on the unit sphere."""

    def loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the squared distance of unit vectors."""
        return regression_loss(predicted, target)


def regression_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared distance of (N, D) and (N, D) as unit vectors, 2 − 2·cosine."""
    distance = normalize(predicted, dim=1) - normalize(target, dim=1)
    return distance.square().sum(dim=1).mean()
