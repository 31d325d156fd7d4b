"""Mixed Barlow Twins: embeddings of mixed images are to be mixed embeddings."""

from __future__ import annotations

from dataclasses import replace

from stages.core.image.views.engine import Views
from stages.core.losses.redundancy import barlow_twins, mixed_correlation_gap, neighbour
from stages.core.views.plan import two_views
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "mixed_barlow_twins",
    paper="Guarding Barlow Twins Against Overfitting with Mixed Samples, 2023",
    kind="negative-free",
)
class MixedBarlowTwins(Projected):
    """Redundancy reduction with a regulariser for small data.

    Each image is mixed with its neighbour in the batch, whose order is random, so that no process
    needs another's images.
    """

    class Settings(MethodSettings):
        off_diagonal: float = 0.005
        mixing: float = 0.01
        projector: tuple[int, ...] = (512, 512)

    views = replace(two_views(), chances=1)

    def forward(self, views: Views) -> Losses:
        """Barlow Twins plus the gap of the mixed images' correlations from what they should be."""
        assert views.chances is not None
        first, second = self.embeddings(views)
        width, share = first.shape[1], views.chances.to(views.images.dtype)
        one, other = views.whole[0].images, neighbour(views.whole[1].images)
        images = share[:, :, None, None] * one + (1 - share)[:, :, None, None] * other
        mixed = self.projector(self.backbone(images))
        gap = mixed_correlation_gap(first, second, mixed, share)
        twins = barlow_twins(first, second, self.settings.off_diagonal)
        return {"loss": (twins + self.settings.mixing * gap) / width, "mixing_gap": gap / width}
