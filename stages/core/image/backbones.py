"""Backbones by name: any timm name, ``torchvision:NAME`` for torchvision's, sized to the images
they will see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torchvision
from timm.layers import DropPath
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import interpolate

from stages.core.errors import ConfigError
from stages.core.image.bodies import check_name, create_body, num_features, reason
from stages.core.random import address

SMALL = 96
"""Below this many pixels a side a network built for 224 px would throw the image away in its stem.
"""
LARGEST_STUDENT = 0.5
"""Of the teacher's parameters that a student may have."""
Stem = Literal["auto", "small", "half", "standard"]


class Backbone(nn.Module):
    """Images ``(N, C, H, W)`` in, pooled features ``(N, num_features)`` out."""

    def __init__(
        self,
        body: nn.Module,
        name: str,
        channels: int,
        size: int,
        num_features: int,
        stem: Stem = "auto",
    ) -> None:
        super().__init__()
        self.body, self.stem = body, stem
        self.name, self.channels, self.size, self.num_features = name, channels, size, num_features

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, ``(N, num_features)``; a timm transformer takes smaller images, too."""
        if isinstance(self.body, VisionTransformer) and images.shape[-1] != self.size:
            return self.features_and_tokens(images)[0]
        features: Tensor = self.body(images)
        return features

    @property
    def grid(self) -> int:
        """Patches per side of a full-size image.

        Raises:
            ConfigError: the network is no timm vision transformer.
        """
        return int(self._transformer().patch_embed.grid_size[0])

    def tokens(
        self,
        images: Tensor,
        keep: Tensor | None = None,
        hidden: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tensor:
        """Patch tokens ``(N, P, num_features)`` after the last norm, row by row; of ``keep`` only,
        if given.

        Args:
            images: ``(N, C, H, W)``.
            keep: ``(N, K)`` int64, the patches that the network sees at all.
            hidden: ``(N, P)`` bool, patches shown as ``mask_token`` ``(num_features,)``.
            mask_token: what stands in their place before positions are added.

        Raises:
            ConfigError: the network is no timm vision transformer.
        """
        return self.features_and_tokens(images, keep, hidden, mask_token)[1]

    def features_and_tokens(
        self,
        images: Tensor,
        keep: Tensor | None = None,
        hidden: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Pooled features ``(N, num_features)`` and what :meth:`tokens` returns, in one pass."""
        body = self._transformer()
        patches = body.patch_embed.proj(images)
        grid = (int(patches.shape[2]), int(patches.shape[3]))
        patches = body.patch_embed.norm(patches.flatten(2).transpose(1, 2))
        if hidden is not None and mask_token is not None:
            patches = torch.where(hidden.unsqueeze(2), mask_token.to(patches.dtype), patches)
        sequence, first = _with_positions(body, patches, grid), int(body.num_prefix_tokens)
        if keep is not None:
            rows = keep.unsqueeze(2).expand(-1, -1, sequence.shape[2])
            kept = sequence[:, first:].gather(1, rows)
            sequence = torch.cat([sequence[:, :first], kept], dim=1)
        sequence = body.norm(body.blocks(body.norm_pre(sequence)))
        return body.forward_head(sequence), sequence[:, first:]

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps ``(N, C_i, h_i, w_i)`` from fine to coarse; the last is what gets pooled.

        Raises:
            ConfigError: the network gives no maps (torchvision's, and a few of timm's).
        """
        return self.features_and_maps(images)[1]

    def features_and_maps(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pooled features and what :meth:`feature_maps` returns, in one pass."""
        body: Any = self.body
        if not hasattr(body, "forward_intermediates"):
            raise ConfigError(
                f"backbone: {self.name} gives no feature maps; choose a network of timm's such as"
                " resnet18"
            )
        final, maps = body.forward_intermediates(images)
        if isinstance(body, VisionTransformer):
            side = maps[-1].shape[-1]
            last = final[:, body.num_prefix_tokens :].transpose(1, 2).unflatten(2, (-1, side))
        else:
            last = final if final.dim() == 4 and final.shape[1] >= maps[-1].shape[1] else maps[-1]
        return body.forward_head(final), [*maps[:-1], last]

    def features_and_places(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features and the last feature map as places ``(N, h·w, C)``, row by row."""
        pooled, maps = self.features_and_maps(images)
        return pooled, maps[-1].flatten(2).transpose(1, 2)

    @property
    def map_channels(self) -> int:
        """Channels of the last feature map."""
        training = self.training
        with torch.no_grad():
            weight = next(self.parameters())
            blank = torch.zeros(1, self.channels, self.size, self.size).to(weight)
            channels = self.eval().feature_maps(blank)[-1].shape[1]
        self.train(training)
        return channels

    def _transformer(self) -> Any:
        if not isinstance(self.body, VisionTransformer):
            raise ConfigError(
                f"backbone: {self.name} has no patch tokens; choose a vision transformer of timm's"
                " such as vit_tiny_patch16_224"
            )
        return self.body

    @property
    def parameter_count(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())


def _with_positions(body: Any, patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Class tokens, patches and positions; images of another size get interpolated positions."""
    prefix = [
        token.expand(len(patches), -1, -1)
        for token in (body.cls_token, body.reg_token)
        if token is not None
    ]
    if body.pos_embed is None:
        return torch.cat([*prefix, patches], dim=1)
    positions = resized_positions(body.pos_embed, tuple(body.patch_embed.grid_size), grid)
    if body.no_embed_class:
        return torch.cat([*prefix, patches + positions], dim=1)
    placed: Tensor = torch.cat([*prefix, patches], dim=1) + positions
    return placed


def resized_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Position embeddings ``(1, prefix + old, D)`` for another grid, in their own precision."""
    if new == old:
        return positions
    prefix = positions.shape[1] - old[0] * old[1]
    grid = positions[:, prefix:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    grid = interpolate(grid, new, mode="bicubic", antialias=True)
    return torch.cat([positions[:, :prefix], grid.flatten(2).transpose(1, 2)], dim=1)


def create_backbone(
    name: str, channels: int, size: int, seed: int, stem: Stem = "auto"
) -> Backbone:
    """Build a network with random weights that depend on ``seed`` and ``name`` only.

    Under 96 px (``stem="auto"``) a convolutional stem becomes 3×3 with stride 1 and no pooling
    (``small``), and a transformer gets patches of an eighth of the side. ``half`` keeps the stride
    of the stem and drops its pooling. ``NAME@0.5`` is a ResNet of timm at half its width. Dropout
    and stochastic depth are off: they would draw from a global generator.

    Raises:
        ConfigError: no such name, or a network that cannot take images of this size.
    """
    check_name(name)
    if stem == "auto":
        stem = "small" if size < SMALL else "standard"
    small = stem == "small"
    with seeded(address(seed, "backbone", name)), _told(name, channels, size):
        body = create_body(name, channels, size, small)
        if stem == "half" and isinstance(getattr(body, "maxpool", None), nn.Module):
            body.maxpool = nn.Identity()
    for module in body.modules():
        if isinstance(module, nn.Dropout | torchvision.ops.StochasticDepth):
            module.p = 0.0
        elif isinstance(module, DropPath):
            module.drop_prob = 0.0
    return Backbone(body, name, channels, size, num_features(body, name, channels, size), stem)


@contextmanager
def _told(name: str, channels: int, size: int) -> Iterator[None]:
    """Whatever a library raises while it builds a network becomes one line: each network has its
    own limits.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        shape = f"{channels}×{size}×{size}"
        raise ConfigError(
            f"backbone: {name} cannot be built for {shape} images: {reason(error)}"
        ) from None


def check_size(student: Backbone, teacher: Backbone) -> None:
    """Refuse a student that is no distillation.

    Raises:
        ConfigError: it has more than half the teacher's parameters.
    """
    if student.parameter_count > LARGEST_STUDENT * teacher.parameter_count:
        raise ConfigError(
            f"distill.backbone {student.name} has {student.parameter_count:,} parameters and its"
            f" teacher {teacher.name} {teacher.parameter_count:,}: a student may have at most half,"
            f" {int(LARGEST_STUDENT * teacher.parameter_count):,}"
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Lend torch's global CPU generator, which libraries' initialisers draw from, a seed and give
    its state back.
    """
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)
