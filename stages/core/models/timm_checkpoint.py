"""How a person with timm alone builds the network of a backbone again: what to call, and what was
changed for small images.
"""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from stages.core.image.backbones import Backbone

LOADER = '''"""Needs timm and safetensors: ``from load import load; model, config = load()``.

The model takes images (N, C, H, W) as (pixels / 255 - mean) / std, with mean and std per channel from the configuration.
"""

import json
from pathlib import Path

import timm
from safetensors.torch import load_file
from torch import nn


def load(folder=Path(__file__).parent):
    """The encoder in eval mode, and its configuration."""
    config = json.loads((folder / "config.json").read_text())
    model = timm.create_model(config["architecture"], num_classes=0, in_chans=config["in_chans"], **config["create"])
    if stem := config["stem"]:  # smaller images than the network was designed for
        parent, _, name = stem["conv"].rpartition(".")
        width, settings = model.get_submodule(stem["conv"]).out_channels, stem["settings"]
        setattr(model.get_submodule(parent), name, nn.Conv2d(config["in_chans"], width, **settings))
    if config["without_pooling"]:
        model.maxpool = nn.Identity()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval(), config
'''  # noqa: E501


def recipe(backbone: Backbone) -> dict[str, Any]:
    """``create``: arguments of ``timm.create_model``; ``stem``: the first convolution where it
    differs; ``without_pooling``.
    """
    body = backbone.body
    create = _sizes(body)
    plain = timm.create_model(
        backbone.name, pretrained=False, num_classes=0, in_chans=backbone.channels, **create
    )
    name, ours = _first(body)
    _, theirs = _first(plain)
    stem = None
    if ours is not None and theirs is not None and _settings(ours) != _settings(theirs):
        stem = {"conv": name, "settings": _settings(ours)}
    without = isinstance(getattr(body, "maxpool", None), nn.Identity) and not isinstance(
        plain.maxpool, nn.Identity
    )
    return {"create": create, "stem": stem, "without_pooling": without}


def _sizes(body: nn.Module) -> dict[str, Any]:
    patches = getattr(body, "patch_embed", None)
    if patches is None or not hasattr(patches, "img_size"):
        return {}
    return {"img_size": list(patches.img_size), "patch_size": list(patches.patch_size)}


def _first(body: nn.Module) -> tuple[str, nn.Conv2d | None]:
    return next(
        ((name, module) for name, module in body.named_modules() if isinstance(module, nn.Conv2d)),
        ("", None),
    )


def _settings(convolution: nn.Conv2d) -> dict[str, Any]:
    keys = ("kernel_size", "stride", "padding")
    return {
        **{key: list(getattr(convolution, key)) for key in keys},
        "bias": convolution.bias is not None,
    }
