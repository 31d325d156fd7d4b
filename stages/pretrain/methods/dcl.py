"""DCL: SimCLR whose positive is left out of the denominator, for small batches."""

from __future__ import annotations

from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import decoupled
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method("dcl", paper="Decoupled Contrastive Learning, 2021", kind="contrastive")
class DCL(Projected):
    """Decoupled contrast within the batch."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        projector: tuple[int, ...] = (512, 128)

    def forward(self, views: Views) -> Losses:
        """Each view finds the other; the positive does not compete with itself."""
        first, second = self.embeddings(views)
        return {"loss": decoupled(first, second, self.settings.temperature)}
