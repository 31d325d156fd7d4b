"""Gradients of every objective on one global batch, of this process or of its share among several."""

from __future__ import annotations

import torch
from torch import nn

from stages.core import registry
from stages.core.backbones import create_backbone
from stages.core.training import distributed, sharding
from stages.core.training.batches import Pixels, ViewBatches
from stages.core.views.engine import ViewEngine
from stages.pretrain.method import METHODS, method_class
from tests.pretrain.pretraining import small_data

BATCH = 32
REPLICATED, SHARDED = "test_resnet", "test_vit"


def gradients(backbone: str) -> dict[str, torch.Tensor]:
    """``backbone/objective/weight`` → gradient after one backward pass over this rank's share of the batch, in fp32.

    Several processes share out the weights of a transformer, and have each their own of any other network.
    """
    found: dict[str, torch.Tensor] = {}
    for name in registry.names(METHODS):
        found |= _of(name, backbone)
    return found


def _of(name: str, network: str) -> dict[str, torch.Tensor]:
    data, kind = small_data(), method_class(name)
    backbone = create_backbone(network, 1, 16, seed=0)
    module = kind(backbone, kind.Settings(), len(data.rows), 0).train()
    distributed.synchronised(module)
    batches = ViewBatches(Pixels(data.store, data.rows), ViewEngine(data.policy, kind.views, data.preprocess), BATCH, 0, data.ids)
    share = BATCH // distributed.world()
    views = batches(0, slice(distributed.rank() * share, (distributed.rank() + 1) * share))
    runner: nn.Module = module
    if sharding.wanted(module, above=0):
        runner = sharding.sharded(module)
    elif distributed.world() > 1:
        runner = distributed.replicated(module)
    runner(views)["loss"].backward()
    weights = {key: weight.grad for key, weight in module.named_parameters() if weight.grad is not None}
    return {f"{network}/{name}/{key}": sharding.everywhere(gradient) for key, gradient in weights.items()}
