"""The model artifact: weights.safetensors, config.json and preprocess.json, read back as something
to call on uint8 images.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stages.core.compute import device
from stages.core.errors import DataError
from stages.core.image.backbones import Backbone, create_backbone
from stages.core.image.preprocess import Preprocess
from stages.core.io import atomic_directory, read_json, write_json

WEIGHTS, CONFIG = "weights.safetensors", "config.json"
FORMAT = 1
BATCH = 512


class LinearClassifier(nn.Module):
    """A backbone with one linear layer on its pooled features: images ``(N, C, H, W)`` in, logits
    ``(N, K)`` out.
    """

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.num_features, classes, device="meta").to_empty(device="cpu")
        nn.init.zeros_(self.head.weight)  # a linear layer has no symmetry to break
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, K)``."""
        logits: Tensor = self.head(self.backbone(images))
        return logits


class Encoder:
    """A frozen backbone with its preprocessing."""

    def __init__(
        self, backbone: Backbone, preprocess: Preprocess, config: Mapping[str, Any]
    ) -> None:
        self.backbone, self.preprocess, self.config = backbone, preprocess, dict(config)

    @property
    def num_features(self) -> int:
        """Length of a feature vector."""
        return self.backbone.num_features

    def encode(self, images: Tensor) -> Tensor:
        """Features ``(N, D)`` float32 on the CPU of uint8 images ``(N, C, H, W)``, in eval mode and
        fp32.
        """
        return _batched(self.backbone, self.preprocess, images, self.num_features)


class Classifier:
    """A trained classifier with its preprocessing; column ``k`` of its answer belongs to
    ``classes[k]``.
    """

    def __init__(
        self, network: LinearClassifier, preprocess: Preprocess, config: Mapping[str, Any]
    ) -> None:
        self.network, self.preprocess, self.config = network, preprocess, dict(config)
        self.classes: list[str] = list(config["classes"])

    @property
    def encoder(self) -> Encoder:
        """The backbone alone."""
        return Encoder(self.network.backbone, self.preprocess, self.config)

    def predict_proba(self, images: Tensor) -> Tensor:
        """Probabilities ``(N, K)`` float32 of uint8 images ``(N, C, H, W)``."""
        return _batched(self.network, self.preprocess, images, len(self.classes)).softmax(dim=1)


def save_model(
    directory: Path | str,
    module: Backbone | LinearClassifier,
    config: Mapping[str, Any],
    preprocess: Preprocess,
) -> None:
    """Write the artifact in one step. ``config`` needs ``method``, and ``classes`` for a
    classifier; more is welcome.
    """
    backbone = module if isinstance(module, Backbone) else module.backbone
    known = {
        "format": FORMAT,
        "kind": "encoder" if isinstance(module, Backbone) else "classifier",
        "backbone": backbone.name,
        "channels": backbone.channels,
        "size": backbone.size,
        "stem": backbone.stem,
        "num_features": backbone.num_features,
        "parameters": backbone.parameter_count,
    }
    weights = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in module.state_dict().items()
    }
    with atomic_directory(directory) as temporary:
        save_file(weights, temporary / WEIGHTS)
        write_json(temporary / CONFIG, {**config, **known})
        preprocess.write(temporary)


def load_encoder(directory: Path | str) -> Encoder:
    """Read an encoder; of a classifier's artifact its backbone.

    Raises:
        DataError: missing or unreadable files, or weights that do not fit the configuration.
    """
    config = _config(directory)
    if config["kind"] == "classifier":
        return load_classifier(directory).encoder
    backbone = _backbone(config)
    _load_weights(backbone, directory)
    return Encoder(backbone, Preprocess.read(directory), config)


def load_classifier(directory: Path | str) -> Classifier:
    """Read a classifier; raises as :func:`load_encoder` does, and for an encoder's artifact."""
    config = _config(directory)
    if config["kind"] != "classifier":
        raise DataError(
            f"{directory} holds an {config['kind']}, not a classifier: it has no classes to predict"
        )
    network = LinearClassifier(_backbone(config), len(config["classes"]))
    _load_weights(network, directory)
    return Classifier(network, Preprocess.read(directory), config)


def _config(directory: Path | str) -> dict[str, Any]:
    path = Path(directory) / CONFIG
    config: dict[str, Any] = read_json(path)
    if config.get("kind") not in {"encoder", "classifier"} or config.get("format") != FORMAT:
        raise DataError(
            f"{path} is no model of format {FORMAT}: kind {config.get('kind')!r}, format"
            f" {config.get('format')!r}"
        )
    return config


def _backbone(config: Mapping[str, Any]) -> Backbone:
    stem = config.get("stem", "auto")
    return create_backbone(config["backbone"], config["channels"], config["size"], 0, stem)


def _load_weights(module: nn.Module, directory: Path | str) -> None:
    path = Path(directory) / WEIGHTS
    try:
        module.load_state_dict(load_file(path))
    except (FileNotFoundError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except RuntimeError as error:
        raise DataError(
            f"{path} does not fit {CONFIG} beside it: {str(error).splitlines()[-1].strip()}"
        ) from None
    module.eval()


def _batched(module: nn.Module, preprocess: Preprocess, images: Tensor, width: int) -> Tensor:
    where = device()
    if not hasattr(module, "unshard"):  # what processes share (fully_shard) is where it belongs
        module.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.eval()
    out = torch.empty(len(images), width)
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = preprocess.apply(images[start : start + BATCH].to(where))
            out[start : start + BATCH] = (
                module(batch.contiguous(memory_format=torch.channels_last)).float().cpu()
            )
    return out
