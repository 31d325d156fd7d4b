"""What the conformance tests of objectives build: a module, a batch of views, in any precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from stages.core import plugins
from stages.core.image.backbones import create_backbone
from stages.core.image.views.engine import View, ViewEngine, Views
from stages.core.training import distributed, sharding
from stages.core.training.batches import Pixels, ViewBatches
from stages.pretrain.method import METHODS, Method, check_settings, method_class
from stages.pretrain.train import Data
from tests.pretrain.pretraining import small_data

NAMES = plugins.names(METHODS)
CONVOLUTIONAL, TRANSFORMER = "test_resnet", "test_vit"
SHARDED = ("ibot", "mae", "nnclr")
"""Objectives also tried with weights that processes hold in parts: they call a backbone in other
ways.
"""
SMALL = {"queue": 32, "prototypes": 16, "clusters": 8, "directions": 16}
"""Sizes that keep naive loops short, where an objective has such a setting."""


def network(name: str) -> str:
    """The tiny backbone that an objective is tried on."""
    return TRANSFORMER if "tokens" in method_class(name).needs else CONVOLUTIONAL


def settings_of(name: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Small sizes, and what is given on top."""
    kind = method_class(name)
    small = {key: size for key, size in SMALL.items() if key in kind.Settings.model_fields}
    if "projector" in kind.Settings.model_fields:
        small["projector"] = (32, 16)
    return {**small, **(given or {})}


def module_of(
    name: str,
    data: Data,
    given: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float64,
    backbone_name: str | None = None,
) -> Method:
    """An objective on its tiny backbone, or on another, in training mode."""
    kind = method_class(name)
    backbone = create_backbone(backbone_name or network(name), 1, 16, seed=0)
    module = kind(backbone, check_settings(kind, given or {}), len(data.rows), 0)
    if "labels" in kind.needs:
        module.learn_labels(torch.from_numpy(data.manifest.labels(data.rows)))
    return module.train().to(dtype)


def batches_of(module: Method, data: Data, batch: int) -> ViewBatches:
    """What it trains on."""
    engine = ViewEngine(data.policy, module.views, data.preprocess)
    return ViewBatches(Pixels(data.store, data.rows), engine, batch, 0, data.ids)


def converted(views: Views, dtype: torch.dtype) -> Views:
    """The same views in another precision."""

    def one(view: View) -> View:
        return replace(view, images=view.images.to(dtype))

    chances = views.chances if views.chances is None else views.chances.to(dtype)
    whole, local = tuple(map(one, views.whole)), tuple(map(one, views.local))
    return replace(views, whole=whole, local=local, chances=chances)


def warmed(
    name: str, given: Mapping[str, Any] | None = None, batch: int = 12
) -> tuple[Method, Views]:
    """An objective after one update, so that teachers, queues and centres are no longer trivial,
    and the views of the second step."""
    data = small_data()
    module = module_of(name, data, settings_of(name, given))
    batches = batches_of(module, data, batch)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1)
    module(converted(batches(0, slice(0, batch)), torch.float64))["loss"].backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    module.after_step(0.3)
    return module, converted(batches(1, slice(0, batch)), torch.float64)


def gradients(name: str, batch: int = 16, shard: bool = False) -> dict[str, torch.Tensor]:
    """Gradients in fp64 of this process's part of one batch, ``name/weight`` → gradient.

    Several processes hold the weights each, or (``shard``) each a part of them.
    """
    data = small_data()
    module = module_of(name, data, settings_of(name))
    distributed.synchronised(module)
    share = batch // distributed.world()
    rows = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    views = converted(batches_of(module, data, batch)(0, rows), torch.float64)
    runner: torch.nn.Module = module
    if distributed.world() > 1:
        runner = sharding.sharded(module) if shard else distributed.replicated(module)
    runner(views)["loss"].backward()
    module.after_step(0.3)
    weights = {key: weight for key, weight in module.named_parameters() if weight.grad is not None}
    found = {key: sharding.everywhere(weight.grad) for key, weight in weights.items()}
    states = {
        f"{key} (state)": value for key, value in module.named_buffers() if "running" not in key
    }
    start = f"{name} sharded" if shard else name
    return {f"{start}/{key}": value.clone() for key, value in {**found, **states}.items()}


def table() -> list[str]:
    """The table of docs/stages/pretrain.md, a line for each objective, by kind."""
    kinds = [method_class(name) for name in NAMES]
    rows = ["| objective | kind | needs | paper |", "|---|---|---|---|"]
    for kind in sorted(kinds, key=lambda kind: (kind.kind, kind.name)):
        needs = ", ".join(NEEDS[need] for need in sorted(kind.needs)) or "–"
        rows.append(f"| `{kind.name}` | {kind.kind} | {needs} | {kind.paper} |")
    return rows


NEEDS = {
    "tokens": "a timm vision transformer",
    "maps": "a timm network",
    "labels": "labels, where there are any",
}
