"""Barlow Twins: the two views' embeddings correlate dimension by dimension and not across."""

from __future__ import annotations

from stages.core.image.views.engine import Views
from stages.core.losses.redundancy import barlow_twins
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "barlow_twins",
    paper="Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021",
    kind="negative-free",
)
class BarlowTwins(Projected):
    """Redundancy reduction."""

    class Settings(MethodSettings):
        off_diagonal: float = 0.005
        projector: tuple[int, ...] = (512, 512)

    def forward(self, views: Views) -> Losses:
        """Divided by the width, so that the step size does not depend on it."""
        first, second = self.embeddings(views)
        return {"loss": barlow_twins(first, second, self.settings.off_diagonal) / first.shape[1]}
