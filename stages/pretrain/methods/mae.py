"""MAE: restore the pixels of hidden patches from the few that are visible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.regression import masked_error, normalise_patches, patchify
from stages.core.models.heads import TokenDecoder
from stages.core.training.masking import hidden, kept
from stages.core.views.plan import masked
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "mae",
    paper="Masked Autoencoders Are Scalable Vision Learners, 2021",
    kind="masked",
    needs=("tokens",),
)
class MAE(Method):
    """An encoder of visible patches and a small decoder; targets are normalised patch by patch."""

    class Settings(MethodSettings):
        ratio: float = 0.75
        decoder_width: int = 64
        decoder_depth: int = 1

    views = masked("random", ratio=0.75)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        self.views = replace(self.views, mask_ratio=settings.ratio)
        pixels = backbone.channels * (backbone.size // backbone.grid) ** 2
        shape = backbone.grid, settings.decoder_width, settings.decoder_depth
        self.decoder = TokenDecoder(backbone.num_features, pixels, *shape, seed, "decoder")

    def forward(self, views: Views) -> Losses:
        """Mean squared error on hidden patches."""
        view = views.whole[0]
        keep = kept(view, self.settings.ratio)
        pooled, tokens = self.backbone.features_and_tokens(view.images, keep)
        self.noted(pooled)
        target = normalise_patches(patchify(view.images, self.backbone.grid))
        return {"loss": masked_error(self.decoder(tokens, keep), target, hidden(view))}
