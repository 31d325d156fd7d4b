"""VICReg: views agree, each dimension varies, dimensions do not covary."""

from __future__ import annotations

from stages.core.image.views.engine import Views
from stages.core.losses.redundancy import vicreg
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "vicreg",
    paper=(
        "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, 2021"
    ),
    kind="negative-free",
)
class VICReg(Projected):
    """Variance, invariance, covariance."""

    class Settings(MethodSettings):
        invariance: float = 25.0
        variance: float = 25.0
        covariance: float = 1.0
        projector: tuple[int, ...] = (512, 512)

    def forward(self, views: Views) -> Losses:
        """The weighted mean of the three terms: their sum would make clipping mean something else
        than for other objectives.
        """
        first, second = self.embeddings(views)
        own = self.settings
        whole = own.invariance + own.variance + own.covariance
        return {
            "loss": vicreg(
                first, second, own.invariance / whole, own.variance / whole, own.covariance / whole
            )
        }
