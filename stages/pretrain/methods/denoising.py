"""Denoising autoencoder: restore images some of whose pixels were blanked. A control."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.regression import squared_error
from stages.core.models.heads import mlp
from stages.core.views.plan import masked
from stages.pretrain.method import Losses, Method, MethodSettings, method


@method(
    "denoising",
    paper="Extracting and Composing Robust Features with Denoising Autoencoders, 2008",
    kind="control",
)
class Denoising(Method):
    """A decoder that must say from pooled features what the image was, in data space."""

    class Settings(MethodSettings):
        decoder: int = 512
        blanked: float = 0.3

    views = masked("random", ratio=0.3)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        cells = next(cells for cells in (backbone.size, 32, 16, 8) if cells <= 64)
        self.views = replace(self.views, patches=cells, mask_ratio=settings.blanked)
        pixels = backbone.channels * backbone.size**2
        self.decoder = mlp((backbone.num_features, settings.decoder, pixels), seed, "decoder")

    def forward(self, views: Views) -> Losses:
        """Mean squared error over all pixels; blanked ones are shown as the mean colour, 0."""
        view = views.whole[0]
        assert view.mask is not None
        side = -(-view.images.shape[-1] // view.mask.shape[-1])
        hidden = view.mask.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)
        hidden = hidden[:, None, : view.images.shape[2], : view.images.shape[3]]
        restored = self.decoder(self.features(view.images.masked_fill(hidden, 0.0)))
        return {"loss": squared_error(restored, view.images.flatten(1))}
