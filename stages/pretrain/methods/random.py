"""Random: no objective at all. A control: the start weights, batch statistics aside."""

from __future__ import annotations

from stages.core.image.views.engine import Views
from stages.core.views.plan import one_view
from stages.pretrain.method import Losses, Method, method


@method(
    "random",
    paper="What is the Best Multi-Stage Architecture for Object Recognition?, 2009",
    kind="control",
)
class Random(Method):
    """A loss of zero whatever the network does."""

    views = one_view()

    def forward(self, views: Views) -> Losses:
        """Zero."""
        return {"loss": 0.0 * self.features(views.images).sum()}
