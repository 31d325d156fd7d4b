"""Foreign weights: files that other programs wrote, read and fitted into a backbone.

A file is safetensors, or a torch file read with ``weights_only=True``. Wrappings around the state
dict (``state_dict``, ``model``, ``teacher`` …) and prefixes of its names (``module.``,
``backbone.``, ``encoder_q.`` …) are found by trying: the part of the file that fills most of the
network is what counts.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stages.core.errors import ConfigError, DataError
from stages.core.image.backbones import Backbone
from stages.core.models.weight_shapes import adapted

Weights = dict[str, Tensor]
DEPTH = 5
"""Components of a name that may be a wrapping."""
WRAPPINGS = (
    *("teacher", "state_dict", "model_state_dict", "model", "student"),
    *("target_encoder", "encoder", "backbone"),
)
TAUGHT, FOLLOWS = ("teacher", "ema"), ("student", "momentum", "encoder_k")
"""Words of a prefix: of two copies of a network, a teacher is better than its student (DINO), and
the one that is trained is what others publish of a pair with momentum (MoCo, BYOL).
"""
SEQUENTIAL = {"0": "conv1", "1": "bn1", **{str(4 + i): f"layer{1 + i}" for i in range(4)}}
"""Children of a ResNet by number, as a ``Sequential`` of them (lightly's examples) saves them."""
NAMED = 6
"""Names in a message."""


@dataclass(frozen=True)
class Fit:
    """What became of a file's weights in a network.

    Attributes:
        fraction: of the network's numbers that the file filled.
        missing: names of the network without a counterpart.
        unused: names of the file without one, heads included.
        adapted: names whose tensor was fitted to another shape.
    """

    fraction: float
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    adapted: tuple[str, ...]


def load_into(backbone: Backbone, path: Path, least: float, key: str = "pretrain.start") -> Fit:
    """Replace a backbone's weights by those of a file, in place; the rest stays as it is.

    Args:
        least: fraction of the network that must be filled.

    Raises:
        ConfigError: less was filled; the message has names of both sides.
        DataError: the file cannot be read or holds numbers that are none.
    """
    weights, fit = fitted(read_weights(path), backbone)
    if fit.fraction < least:
        raise ConfigError(
            f"{key}: {path} fills {fit.fraction:.1%} of {backbone.name}, and"
            f" pretrain.start_min_fraction asks for {least:.1%}. Not in the file:"
            f" {listed(fit.missing)}. Not in the network: {listed(fit.unused)}. Set"
            " pretrain.backbone and pretrain.stem to the network that the file is for"
        )
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise DataError(f"{path}: {listed(broken)} hold numbers that are not finite")
    backbone.body.load_state_dict(weights, strict=False)
    return fit


def listed(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more if every else "nothing"


def read_weights(path: Path) -> Weights:
    """Return the tensors of a file by name, without the wrappings around them.

    Raises:
        DataError: it cannot be read, holds objects other than tensors and plain values, or no
            weights at all.
    """
    try:
        with path.open("rb") as file:
            archive = file.read(2) in {b"PK", b"\x80\x02"}  # torch.save, now and before 2020
        if not archive:
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # settings in DINO's and MAE's
            document = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise DataError(f"{path} is neither safetensors nor a torch file: {error}") from None
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    except Exception as error:  # torch's refusal has the class of a module that is not used here
        what = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise DataError(
            f"{path} holds {what.group(1) if what else 'objects'} beside tensors, and reading such"
            " objects would run code from the file: save its state_dict alone and start from that"
        ) from None
    return _unwrapped(document, path)


def _unwrapped(document: Any, path: Path) -> Weights:
    """The state dict inside dictionaries of dictionaries."""
    seen: list[str] = []
    while isinstance(document, Mapping):
        tensors = {
            str(name): value for name, value in document.items() if isinstance(value, Tensor)
        }
        inner = {name: value for name, value in document.items() if isinstance(value, Mapping)}
        if tensors or not inner:
            if tensors:
                return tensors
            break
        seen = [str(name) for name in document]
        document = next((inner[name] for name in WRAPPINGS if name in inner), None)
    raise DataError(
        f"{path} holds no weights under a known name"
        + (f"; its keys are {listed(seen)}" if seen else "")
    )


def fitted(weights: Mapping[str, Tensor], backbone: Backbone) -> tuple[Weights, Fit]:
    """Return the tensors for ``backbone.body`` by its names, and how well they fit.

    Several parts of the file may fit, such as teacher and student: the one that fills most, then
    the teacher, then the one that is trained, then the shortest prefix.
    """
    wanted = {
        name: tensor
        for name, tensor in backbone.body.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    best: tuple[tuple[int, int, int], Weights, dict[str, str]] | None = None
    for prefix in _prefixes(weights):
        inside = {name.removeprefix(prefix): name for name in weights if name.startswith(prefix)}
        for names in (_timm_names(inside), _numbered(inside)):
            pairs = {ours: theirs for ours, theirs in names.items() if ours in wanted}
            made = {
                ours: tensor
                for ours, theirs in pairs.items()
                if (tensor := adapted(ours, weights[theirs], wanted[ours], weights, backbone))
                is not None
            }
            made = _with_class_position(made, names, weights, backbone)
            score = (sum(map(Tensor.numel, made.values())), _rank(prefix), -len(prefix))
            if best is None or score > best[0]:
                best = (score, made, pairs)
    _, found, pairs = best if best is not None else (None, {}, {})
    used = {pairs[name] for name in found}
    unused = (name for name in weights if not name.endswith("num_batches_tracked"))
    return found, Fit(
        sum(map(Tensor.numel, found.values())) / sum(map(Tensor.numel, wanted.values())),
        tuple(name for name in wanted if name not in found),
        tuple(name for name in unused if name not in used),
        tuple(name for name in found if weights[pairs[name]].shape != wanted[name].shape),
    )


def _prefixes(weights: Iterable[str]) -> list[str]:
    """Every beginning of a name up to a dot, and none at all."""
    found = {""}
    for name in weights:
        parts = name.split(".")
        found |= {".".join(parts[:depth]) + "." for depth in range(1, min(len(parts), DEPTH + 1))}
    return sorted(found)


def _rank(prefix: str) -> int:
    if any(word in prefix for word in TAUGHT):
        return 1
    return -1 if any(word in prefix for word in FOLLOWS) else 0


def _timm_names(names: Mapping[str, str]) -> dict[str, str]:
    """Names of transformers by other programs as timm's: chunks of blocks, registers and gated
    layers of DINOv2.
    """
    renamed = {}
    for name, original in names.items():
        name = re.sub(r"^blocks\.\d+\.(\d+\.)", r"blocks.\1", name)
        name = re.sub(r"^register_tokens$", "reg_token", name)
        name = name.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2.")
        renamed[name] = original
    return renamed


def _numbered(names: Mapping[str, str]) -> dict[str, str]:
    """Names of a ResNet whose children have numbers."""
    renamed = {}
    for name, original in names.items():
        first, _, rest = name.partition(".")
        renamed[f"{SEQUENTIAL.get(first, first)}.{rest}"] = original
    return renamed


def _with_class_position(
    made: Weights, names: Mapping[str, str], weights: Mapping[str, Tensor], backbone: Backbone
) -> Weights:
    """Where a network gives its class token no position (timm's DINOv2 with registers), the file's
    is part of the token.
    """
    if not getattr(backbone.body, "no_embed_class", False) or not {"cls_token", "pos_embed"} <= {
        *made
    }:
        return made
    positions = weights[names["pos_embed"]]
    side = round((positions.shape[1] - 1) ** 0.5)
    if side**2 + 1 != positions.shape[1]:
        return made
    return {**made, "cls_token": made["cls_token"] + positions[:, :1].to(made["cls_token"])}
