"""SwAV: predict the cluster code of one crop of an image from its other crops."""

from __future__ import annotations

from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.clustering import across_views, assignment_entropy
from stages.core.models.heads import Prototypes
from stages.core.training.assignment import sinkhorn
from stages.core.views.plan import multi_crop
from stages.pretrain.method import Auto, Losses, MethodSettings, Projected, method, sized


@method(
    "swav",
    paper="Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, 2020",
    kind="clustering",
)
class SwAV(Projected):
    """Swapped prediction of equally filled clusters, with small crops."""

    class Settings(MethodSettings):
        temperature: float = 0.1
        sharpness: float = 0.05
        iterations: int = 3
        prototypes: Auto = "auto"
        projector: tuple[int, ...] = (512, 128)

    views = multi_crop(local=4)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        count = sized(settings.prototypes, images, 1 / 16, 16, 4096, "prototypes")
        self.prototypes = Prototypes(settings.projector[-1], count, seed)

    def forward(self, views: Views) -> Losses:
        """Codes of the full views, predicted from all other views."""
        own = self.settings
        students = [self.prototypes(z) for z in self.crops(views)]
        codes = [
            sinkhorn(student, own.sharpness, own.iterations)
            for student in students[: len(views.whole)]
        ]
        used = assignment_entropy(students[0].div(own.sharpness).softmax(dim=1))
        loss = across_views(students, codes, own.temperature)
        return {"loss": loss, "assignment_entropy": used}
