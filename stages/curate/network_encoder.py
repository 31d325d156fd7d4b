"""A trained network as an encoder of stored images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.core.errors import ConfigError
from stages.core.models.artifact import Encoder
from stages.curate.encoder import Encode, Source


def as_encode(encoder: Encoder, source: Source, name: str) -> Encode:
    """The encoder, with images of another size brought to its own and grey ones to three equal
    channels.

    Raises:
        ConfigError: colour images for an encoder of grey ones.
    """
    channels = source.store.shape[1]
    own = encoder.preprocess
    if channels != own.channels and channels != 1:
        raise ConfigError(
            f"curate.encoder: {name} takes images of {own.channels} channels, the pool has"
            f" {channels}"
        )

    def encode(images: Tensor) -> Tensor:
        if images.shape[-1] != own.size:
            images = _resized(images, own.size, own.interpolation)
        return encoder.encode(images.expand(-1, own.channels, -1, -1))

    return encode


def _resized(images: Tensor, size: int, interpolation: str) -> Tensor:
    """uint8 ``(n, C, S, S)`` → ``(n, C, size, size)``, antialiased; what torch has no filter for is
    bicubic.
    """
    mode = "bilinear" if interpolation == "bilinear" else "bicubic"
    resized = F.interpolate(
        images.float(), (size, size), mode=mode, antialias=True, align_corners=False
    )
    return resized.round_().clamp_(0, 255).to(torch.uint8)
