"""Gradients of some objectives on one global batch, of this process or of its share among
several.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import torch
from torch import nn

from stages.core.image.backbones import create_backbone
from stages.core.image.views.engine import ViewEngine
from stages.core.random import generator
from stages.core.training import distributed, sharding
from stages.core.training.batches import Pixels, ViewBatches
from stages.pretrain.method import method_class
from tests.pretrain.pretraining import small_data

NAMES = ("barlow_twins", "byol", "instance", "simclr", "simsiam", "vicreg")
"""One for each way to gather; tests/families asks all objectives, of replicated networks in fp64.
"""
BATCH = 32
REPLICATED, SHARDED = "test_resnet", "test_vit"
PRECISIONS = {"fp32": torch.float32, "fp64": torch.float64}
LOOKED_AT = (("fp32", REPLICATED), ("fp32", SHARDED), ("fp64", SHARDED))


def gradients() -> dict[str, torch.Tensor]:
    """``precision/network/objective/weight`` → gradient after one backward pass over this rank's
    share of the batch.

    Several processes share out the weights of a transformer, and have each their own of any other
    network.
    """
    found: dict[str, torch.Tensor] = {}
    for (precision, network), name in product(LOOKED_AT, NAMES):
        found |= {
            f"{precision}/{network}/{name}/{key}": g
            for key, g in _of(name, network, PRECISIONS[precision]).items()
        }
    return found | {"gathered": _gathered_twice()}


def _gathered_twice() -> torch.Tensor:
    """Gradients of all rows where a sum of two gathers hands both the same gradient: neither may
    spoil it for the other.
    """
    share = BATCH // distributed.world()
    rows = torch.randn(BATCH, 4, generator=generator(0, "gathered"))
    local = (
        rows[distributed.rank() * share : (distributed.rank() + 1) * share].clone().requires_grad_()
    )
    (distributed.gather(local) + distributed.gather(2 * local)).square().sum().backward()
    assert local.grad is not None
    return distributed.gather(local.grad) / distributed.world()


def _of(name: str, network: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    data, kind = small_data(), method_class(name)
    backbone = create_backbone(network, 1, 16, seed=0)
    module = kind(backbone, kind.Settings(), len(data.rows), 0).train().to(dtype)
    distributed.synchronised(module)
    engine = ViewEngine(data.policy, module.views, data.preprocess)
    batches = ViewBatches(Pixels(data.store, data.rows), engine, BATCH, 0, data.ids)
    share = BATCH // distributed.world()
    views = batches(0, slice(distributed.rank() * share, (distributed.rank() + 1) * share))
    views = replace(
        views, whole=tuple(replace(view, images=view.images.to(dtype)) for view in views.whole)
    )
    runner: nn.Module = module
    if sharding.wanted(module, above=0):
        runner = sharding.sharded(module)
    elif distributed.world() > 1:
        runner = distributed.replicated(module)
    runner(views)["loss"].backward()
    weights = {
        key: weight.grad for key, weight in module.named_parameters() if weight.grad is not None
    }
    return {key: sharding.everywhere(gradient) for key, gradient in weights.items()}
