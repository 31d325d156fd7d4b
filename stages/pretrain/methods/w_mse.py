"""W-MSE: views agree after whitening, which leaves no room for collapse."""

from __future__ import annotations

from stages.core.image.views.engine import Views
from stages.core.losses.redundancy import whitened_mse
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "w_mse",
    paper="Whitening for Self-Supervised Representation Learning, 2020",
    kind="negative-free",
)
class WMSE(Projected):
    """No negatives, no teacher, no predictor. Both views of the batch are whitened together.

    The ridge keeps batches solvable that are smaller than the embedding is wide.
    """

    class Settings(MethodSettings):
        ridge: float = 0.01
        projector: tuple[int, ...] = (512, 32)

    def forward(self, views: Views) -> Losses:
        """Mean squared distance of unit vectors."""
        return {"loss": whitened_mse(*self.embeddings(views), self.settings.ridge)}
