"""Bodies: networks by name as their libraries build them, with random weights, sized to the images.

A name is timm's, ``NAME@WIDTH`` for a timm ResNet of another width, or ``torchvision:NAME``.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
import torchvision
from timm.layers import PatchEmbed
from torch import Tensor, nn

from stages.core.errors import ConfigError, nearest

TOKENS = 8
"""Patches per side of a transformer on small images."""
CHANNELS, STEM_WIDTH = (64, 128, 256, 512), 32
"""Widths of timm's ResNets and of their deep stems, which ``NAME@WIDTH`` scales."""


def create_body(name: str, channels: int, size: int, small: bool) -> nn.Module:
    """Build the network of a name; ``small``: a stem of 3×3 with stride 1 and no pooling."""
    if name.startswith("torchvision:"):
        body = _torchvision(name.removeprefix("torchvision:"), channels, size)
    else:
        body = _timm(name, channels, size, small)
    if small:
        _small_stem(body, channels)
    return body


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


def reason(error: Exception) -> str:
    """Return the first line of an error with its kind where it says nothing by itself."""
    first = next(iter(str(error).strip().splitlines()), "")[:200]
    return first if len(first.split()) > 2 else f"{type(error).__name__} {first}".strip()


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
    refused: list[Exception] = []
    for sizes in [
        *attempts,
        {"img_size": size},
        {},
    ]:  # families know one keyword, both or none, and some fix their patches
        try:
            body: nn.Module = timm.create_model(
                plain, pretrained=False, num_classes=0, in_chans=channels, **sizes
            )
            return body
        except Exception as error:
            refused.append(error)
    raise next((error for error in refused if "keyword" not in str(error)), refused[-1])


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
    if (
        hasattr(body, "patch_embed")
        or hasattr(body, "conv_proj")
        or isinstance(getattr(body, "stem", None), PatchEmbed)
    ):
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


def num_features(body: nn.Module, name: str, channels: int, size: int) -> int:
    was_training = body.training
    try:
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, channels, size, size))
    except Exception as error:
        shape = f"{channels}×{size}×{size}"
        raise ConfigError(f"backbone: {name} cannot take {shape} images: {reason(error)}") from None
    finally:
        body.train(was_training)
    if not isinstance(features, Tensor) or features.dim() != 2:
        raise ConfigError(
            f"backbone: {name} gives no pooled feature vector, so it cannot be an encoder"
        )
    return int(features.shape[1])
