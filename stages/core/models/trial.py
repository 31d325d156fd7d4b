"""``python -m stages.core.models.trial JSON``: one training step and one look with the networks of
a run, before anything runs.

A name says neither whether a network can be built at the size of the images, nor whether it can be
trained there, nor how large it is. So both are built and tried as pretraining will use them; the
answer is one line of JSON: ``{"error": null}`` or why not.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torch import nn

from stages.core import compute
from stages.core.errors import ConfigError
from stages.core.image.backbones import Backbone, Stem, check_size, create_backbone
from stages.core.image.bodies import reason

IMAGES = 2
"""The least that batch norm takes, and that a part of a batch has."""


def main() -> None:
    """Try what the argument names and print what came of it."""
    asked = json.loads(sys.argv[1])
    try:
        try_networks(
            asked["pretrain"],
            asked["distill"],
            asked["channels"],
            asked["size"],
            asked["precision"],
            asked.get("stem", "auto"),
        )
        answer: dict[str, Any] = {"error": None}
    except ConfigError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


def try_networks(
    pretrain: str,
    distill: str | None,
    channels: int,
    size: int,
    precision: str = "fp32",
    stem: Stem = "auto",
) -> None:
    """Try teacher and student, and compare their sizes.

    Raises:
        ConfigError: one line that begins with the key of the network that cannot be used.
    """
    compute.deterministic()
    tried = {}
    for key, name in {"pretrain.backbone": pretrain, "distill.backbone": distill}.items():
        if name is None:
            continue
        try:
            tried[key] = try_network(
                name,
                channels,
                size,
                precision if key.startswith("pretrain") else "fp32",
                stem if key.startswith("pretrain") else "auto",
            )
        except ConfigError as error:
            raise ConfigError(f"{key}: {str(error).removeprefix('backbone: ')}") from None
    if distill is not None:
        check_size(tried["distill.backbone"], tried["pretrain.backbone"])


def try_network(
    name: str, channels: int, size: int, precision: str = "fp32", stem: Stem = "auto"
) -> Backbone:
    """Build a network, train it for one step and look at images with it.

    Raises:
        ConfigError: it cannot be built, trained or asked at this size.
    """
    backbone = create_backbone(name, channels, size, 0, stem)
    shape = f"{channels}×{size}×{size}"
    try:
        _step(
            backbone,
            torch.linspace(-1, 1, IMAGES * channels * size * size).view(
                IMAGES, channels, size, size
            ),
            precision,
        )
    except Exception as error:
        raise ConfigError(
            f"{name} cannot be trained on {shape} images: {reason(error)}; choose another network"
        ) from None
    return backbone


def _step(backbone: Backbone, images: torch.Tensor, precision: str) -> None:
    where = compute.device()
    images = images.to(where, memory_format=torch.channels_last)
    backbone.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(backbone.parameters(), lr=1e-4)
    with compute.autocast(precision):
        loss = nn.functional.normalize(backbone.train()(images), dim=1)[:, 0].square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    if not any(parameter.grad is not None for parameter in backbone.parameters()):
        raise RuntimeError("no weight gets a gradient")
    optimizer.step()
    with torch.inference_mode():
        features = backbone.eval()(images)
    if features.shape != (IMAGES, backbone.num_features):
        raise RuntimeError(
            f"features of {tuple(features.shape)} instead of {(IMAGES, backbone.num_features)}"
        )


if __name__ == "__main__":
    main()
