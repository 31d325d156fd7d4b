"""Backbones by name: any timm name, ``torchvision:NAME`` for torchvision's, sized to the images
they will see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import timm
import torch
import torchvision
from timm.layers import DropPath
from torch import Tensor, nn

from stages.core.errors import ConfigError
from stages.core.plugins import nearest
from stages.core.random import address

SMALL = 96
"""Below this many pixels a side a network built for 224 px would throw the image away in its stem.
"""
TOKENS = 8
"""Patches per side of a transformer on small images."""
Stem = Literal["auto", "small", "half", "standard"]
CHANNELS, STEM_WIDTH = (64, 128, 256, 512), 32
"""Widths of timm's ResNets and of their deep stems, which ``NAME@WIDTH`` scales."""


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
        """Pooled features, ``(N, num_features)``."""
        features: Tensor = self.body(images)
        return features

    @property
    def parameter_count(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())


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
    with _seeded(address(seed, "backbone", name)):
        if name.startswith("torchvision:"):
            body = _torchvision(name.removeprefix("torchvision:"), channels, size)
        else:
            body = _timm(name, channels, size, small)
        if small:
            _small_stem(body, channels)
        elif stem == "half" and isinstance(getattr(body, "maxpool", None), nn.Module):
            body.maxpool = nn.Identity()
    for module in body.modules():
        if isinstance(module, nn.Dropout | torchvision.ops.StochasticDepth):
            module.p = 0.0
        elif isinstance(module, DropPath):
            module.drop_prob = 0.0
    return Backbone(body, name, channels, size, _num_features(body, name, channels, size), stem)


def check_name(name: str) -> None:
    """Refuse a name that neither timm nor, as ``torchvision:NAME``, torchvision has.

    Raises:
        ConfigError: it says the nearest valid name.
    """
    if name.startswith("torchvision:"):
        given, known = (
            name.removeprefix("torchvision:"),
            torchvision.models.list_models(module=torchvision.models),
        )
        if given not in known:
            raise ConfigError(
                f"torchvision has no {given!r}; {nearest(given, known)}timm's names need no prefix"
            )
    else:
        plain, _ = split_width(name)
        if not timm.is_model(plain):
            raise ConfigError(
                f"timm has no {plain!r}; {nearest(plain, timm.list_models())}torchvision's are"
                " torchvision:NAME"
            )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The libraries' own initialisers draw from torch's global CPU generator: lend it a seed and
    give its state back.
    """
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


def split_width(name: str) -> tuple[str, float]:
    """Return the network and the width of a name such as ``resnet10t@0.5``; without ``@`` it is 1.

    Raises:
        ConfigError: the width is not a number between 0 and 4.
    """
    plain, at, width = name.partition("@")
    try:
        scale = float(width if at else 1)
    except ValueError:
        scale = 0.0
    if not 0 < scale <= 4:
        raise ConfigError(f"backbone: {name}: the width after @ is a number up to 4, as in @0.5")
    return plain, scale


def _timm(name: str, channels: int, size: int, small: bool) -> nn.Module:
    plain, width = split_width(name)
    if width != 1:
        return _scaled(name, plain, width, channels)
    patches: dict[str, Any] = {"img_size": size, "patch_size": max(1, size // TOKENS)}
    attempts = [patches] if small else []
    for sizes in [*attempts, {"img_size": size}, {}]:
        try:
            body: nn.Module = timm.create_model(
                plain, pretrained=False, num_classes=0, in_chans=channels, **sizes
            )
            return body
        except TypeError as error:
            if "unexpected keyword" not in str(error):
                raise
    raise ConfigError(f"backbone: {name} cannot be built for {channels} channels")


def _scaled(name: str, plain: str, width: float, channels: int) -> nn.Module:
    """A ResNet of timm with all its widths scaled."""
    widths = tuple(max(8, round(width * channel)) for channel in CHANNELS)
    options: dict[str, Any] = {"channels": widths, "stem_width": max(8, round(width * STEM_WIDTH))}
    try:
        body: nn.Module = timm.create_model(
            plain, pretrained=False, num_classes=0, in_chans=channels, **options
        )
    except TypeError:
        raise ConfigError(
            f"backbone: {name}: only timm's ResNets come in other widths; drop the @"
        ) from None
    return body


def _torchvision(name: str, channels: int, size: int) -> nn.Module:
    sizes = {"image_size": size} if name.startswith("vit_") else {}
    body: nn.Module = torchvision.models.get_model(name, weights=None, **sizes)
    for head in ("fc", "classifier", "heads", "head"):
        if isinstance(getattr(body, head, None), nn.Module):
            setattr(body, head, nn.Identity())
    where, first = _first_convolution(body, 3)
    if first is not None and channels != 3:
        _replace(
            body,
            where,
            _convolution(first, channels, first.kernel_size[0], first.stride[0], first.padding),
        )
    return body


def _small_stem(body: nn.Module, channels: int) -> None:
    """3×3, stride 1, no pooling; a transformer's patch embedding is left alone."""
    if hasattr(body, "patch_embed") or hasattr(body, "conv_proj"):
        return
    where, first = _first_convolution(body, channels)
    if first is not None and first.stride[0] > 1:
        _replace(body, where, _convolution(first, channels, 3, 1, 1))
    if isinstance(getattr(body, "maxpool", None), nn.Module):
        body.maxpool = nn.Identity()


def _first_convolution(body: nn.Module, channels: int) -> tuple[str, nn.Conv2d | None]:
    for name, module in body.named_modules():
        if isinstance(module, nn.Conv2d):
            return (name, module) if module.in_channels == channels else ("", None)
    return "", None


def _convolution(
    like: nn.Conv2d, channels: int, kernel: int, stride: int, padding: Any
) -> nn.Conv2d:
    made = nn.Conv2d(
        channels, like.out_channels, kernel, stride, padding, bias=like.bias is not None
    )
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


def _replace(body: nn.Module, where: str, module: nn.Module) -> None:
    parent, _, name = where.rpartition(".")
    setattr(body.get_submodule(parent), name, module)


def _num_features(body: nn.Module, name: str, channels: int, size: int) -> int:
    was_training = body.training
    try:
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, channels, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"backbone: {name} cannot take {channels}×{size}×{size} images: {reason}"
        ) from None
    finally:
        body.train(was_training)
    if not isinstance(features, Tensor) or features.dim() != 2:
        raise ConfigError(
            f"backbone: {name} gives no pooled feature vector, so it cannot be an encoder"
        )
    return int(features.shape[1])
