"""Gradients of every objective on one global batch, of this process or of its share among several."""

from __future__ import annotations

import torch

from stages.core import registry
from stages.core.backbones import create_backbone
from stages.core.training import distributed
from stages.core.training.batches import Pixels, ViewBatches
from stages.core.views.engine import ViewEngine
from stages.pretrain.method import METHODS, method_class
from tests.pretrain.pretraining import small_data

BATCH = 32


def gradients() -> dict[str, torch.Tensor]:
    """``objective/weight`` → gradient after one backward pass over this rank's share of the batch, in fp32."""
    found: dict[str, torch.Tensor] = {}
    for name in registry.names(METHODS):
        found |= _of(name)
    return found


def _of(name: str) -> dict[str, torch.Tensor]:
    data, kind = small_data(), method_class(name)
    backbone = create_backbone("test_resnet", 1, 16, seed=0)
    module = kind(backbone, kind.Settings(), len(data.rows), 0).train()
    distributed.synchronised(module)
    batches = ViewBatches(Pixels(data.store, data.rows), ViewEngine(data.policy, kind.views, data.preprocess), BATCH, 0, data.ids)
    share = BATCH // distributed.world()
    views = batches(0, slice(distributed.rank() * share, (distributed.rank() + 1) * share))
    runner = distributed.replicated(module) if distributed.world() > 1 else module
    runner(views)["loss"].backward()
    return {f"{name}/{key}": weight.grad for key, weight in module.named_parameters() if weight.grad is not None}
