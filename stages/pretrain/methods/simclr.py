"""SimCLR: two views of an image attract, all other images of the batch repel."""

from __future__ import annotations

from stages.core.image.views.engine import Views
from stages.core.losses.contrastive import nt_xent
from stages.pretrain.method import Losses, MethodSettings, Projected, method


@method(
    "simclr",
    paper="A Simple Framework for Contrastive Learning of Visual Representations, 2020",
    kind="contrastive",
)
class SimCLR(Projected):
    """Contrast within the batch."""

    class Settings(MethodSettings):
        temperature: float = 0.2
        projector: tuple[int, ...] = (512, 128)

    def forward(self, views: Views) -> Losses:
        """Each view finds the other."""
        first, second = self.embeddings(views)
        return {"loss": nt_xent(first, second, self.settings.temperature)}
