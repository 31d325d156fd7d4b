"""SimMIM: one linear layer restores the pixels of patches shown as a mask token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.regression import masked_error, patchify
from stages.core.models.heads import linear, mask_token
from stages.core.training.masking import hidden
from stages.core.views.plan import masked
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "simmim",
    paper="SimMIM: A Simple Framework for Masked Image Modeling, 2021",
    kind="masked",
    needs=("tokens",),
)
class SimMIM(Method):
    """No decoder worth the name; raw pixels as target."""

    class Settings(MethodSettings):
        ratio: float = 0.6

    views = masked("random", ratio=0.6)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.views = replace(self.views, mask_ratio=settings.ratio)
        pixels = backbone.channels * (backbone.size // backbone.grid) ** 2
        self.decoder = linear(backbone.num_features, pixels, seed, "decoder")
        self.mask_token = mask_token(backbone.num_features, seed)

    def forward(self, views: Views) -> Losses:
        """Mean absolute error on hidden patches."""
        view = views.whole[0]
        mask = hidden(view)
        pooled, tokens = self.backbone.features_and_tokens(
            view.images, hidden=mask, mask_token=self.mask_token
        )
        self.noted(pooled)
        target = patchify(view.images, self.backbone.grid)
        return {"loss": masked_error(self.decoder(tokens), target, mask, power=1)}
