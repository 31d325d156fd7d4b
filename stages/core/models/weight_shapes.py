"""Weight shapes: one tensor fitted to another number of channels, patch size or grid of positions.

Patch embeddings are resized so that a resized patch gives the same token (FlexiViT: One Model for
All Patch Sizes, 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers import resample_patch_embed
from torch import Tensor

from stages.core.image.backbones import Backbone, resized_positions

PATCHES, POSITIONS = ("patch_embed.", "conv_proj."), ("pos_embed", "pos_embedding")


def adapted(
    name: str, given: Tensor, wanted: Tensor, weights: Mapping[str, Tensor], backbone: Backbone
) -> Tensor | None:
    """Return ``given`` in the shape and type of ``wanted``; None where there is no sound way.

    Args:
        name: of the weight in ``backbone.body``.
        weights: all weights of the file.
    """
    if not given.is_floating_point():
        return None
    given = given.to(wanted.dtype)
    if given.shape == wanted.shape:
        return given
    if name.rpartition(".")[2] in POSITIONS:
        return _positions(given, wanted, backbone)
    if given.dim() != 4 or wanted.dim() != 4 or given.shape[0] != wanted.shape[0]:
        return None
    if given.shape[1] != wanted.shape[1]:
        if wanted.shape[1] != backbone.channels or given.shape[1] not in {1, 3, 4}:
            return None  # not the layer that sees the image
        given = _channels(given, wanted.shape[1])
    if given.shape != wanted.shape:
        if not any(part in name for part in PATCHES):
            return None
        given = resample_patch_embed(given, list(wanted.shape[2:]))
    return given


def _channels(kernel: Tensor, channels: int) -> Tensor:
    """A kernel ``(O, I, h, w)`` for another number of channels. Between one and three the answer to
    an image whose channels are equal stays the same.
    """
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    given = kernel.shape[1]
    repeated = kernel[:, [channel % given for channel in range(channels)]]
    return repeated * (given / channels)


def _positions(given: Tensor, wanted: Tensor, backbone: Backbone) -> Tensor | None:
    """Position embeddings ``(1, tokens, D)`` for another square grid."""
    if given.dim() != 3 or given.shape[2] != wanted.shape[2]:
        return None
    prefix = _prefix(backbone)
    old = _side(given.shape[1] - prefix)
    if old is None and prefix == 0:  # the class token has a position in the file alone
        old, given = _side(given.shape[1] - 1), given[:, 1:]
    new = _side(wanted.shape[1] - prefix)
    if old is None or new is None:
        return None
    return resized_positions(given, (old, old), (new, new))


def _prefix(backbone: Backbone) -> int:
    """Positions in front of the grid."""
    body: Any = backbone.body
    if getattr(body, "no_embed_class", False):
        return 0
    return int(getattr(body, "num_prefix_tokens", 1))


def _side(tokens: int) -> int | None:
    side = round(max(tokens, 0) ** 0.5)
    return side if side > 0 and side**2 == tokens else None
