"""VICReg: views agree, each dimension varies, dimensions do not covary."""

from __future__ import annotations

from typing import Any

from stages.core.backbones import Backbone
from stages.core.views.engine import Views
from stages.core.views.plan import two_views
from stages.pretrain.losses import vicreg
from stages.pretrain.method import Losses, Method, MethodSettings, method, mlp


@method("vicreg", paper="VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, 2021")
class VICReg(Method):
    """Variance, invariance, covariance."""

    class Settings(MethodSettings):
        invariance: float = 25.0
        variance: float = 25.0
        covariance: float = 1.0
        projector: tuple[int, ...] = (512, 512)

    views = two_views()

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.projector = mlp((backbone.num_features, *settings.projector), seed, "projector")

    def forward(self, views: Views) -> Losses:
        """The weighted mean of the three terms: their sum would make clipping mean something else than for other objectives."""
        first, second = self.projector(self.features(views.images)).chunk(2)
        own = self.settings
        whole = own.invariance + own.variance + own.covariance
        return {"loss": vicreg(first, second, own.invariance / whole, own.variance / whole, own.covariance / whole)}
