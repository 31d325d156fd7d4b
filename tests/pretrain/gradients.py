"""Gradients of every objective on one global batch: ``python -m tests.pretrain.gradients OUT``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from stages.core import registry
from stages.core.backbones import create_backbone
from stages.core.training import distributed
from stages.core.training.batches import Pixels, ViewBatches
from stages.core.views.engine import ViewEngine
from stages.pretrain.method import METHODS, method_class
from tests.pretrain.pretraining import small_data

BATCH = 16


def gradients(name: str) -> dict[str, torch.Tensor]:
    """Gradient of each weight after one backward pass over this rank's share of the batch."""
    data, kind = small_data(), method_class(name)
    backbone = create_backbone("test_resnet", 1, 16, seed=0)
    module = kind(backbone, kind.Settings(), len(data.rows), 0).train()
    distributed.synchronised(module)
    batches = ViewBatches(Pixels(data.store, data.rows), ViewEngine(data.policy, kind.views, data.preprocess), BATCH, 0, data.ids)
    share = BATCH // distributed.world()
    views = batches(0, slice(distributed.rank() * share, (distributed.rank() + 1) * share))
    runner = DistributedDataParallel(module, broadcast_buffers=False) if distributed.world() > 1 else module
    runner(views)["loss"].backward()
    return {f"{name}/{key}": weight.grad for key, weight in module.named_parameters() if weight.grad is not None}


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, torch.Tensor] = {}
    with distributed.process_group():
        for name in registry.names(METHODS):
            found |= gradients(name)
        if distributed.rank() == 0:
            save_file(found, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
