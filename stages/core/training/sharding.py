"""Transformers too large for one device: every process keeps its share of each weight and the whole
of one block at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from stages.core.compute import device
from stages.core.image.backbones import Backbone
from stages.core.training import distributed


def blocks(module: nn.Module) -> list[nn.Module]:
    """Transformer blocks: modules with an attention layer of their own (``attn`` in timm,
    ``self_attention`` in torchvision).
    """
    return [
        child
        for child in module.modules()
        if hasattr(child, "attn") or hasattr(child, "self_attention")
    ]


def wanted(module: nn.Module, above: float) -> bool:
    """True for a transformer backbone of more than ``above`` million weights, where there are
    processes to share it.
    """
    sizes = [
        child.parameter_count / 1e6 for child in module.modules() if isinstance(child, Backbone)
    ]
    if distributed.world() == 1 or max(sizes, default=0.0) <= above:
        return False
    if not blocks(module):
        if distributed.rank() == 0:
            print(
                f"{max(sizes):.0f} M weights, but no transformer blocks to shard: every process"
                " keeps them all",
                flush=True,
            )
        return False
    return True


def sharded(module: nn.Module) -> nn.Module:
    """Share out weights, gradients and optimiser state over the processes, in place and block by
    block (FSDP2; PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel, 2023). Backbones
    are units of their own, so that a probe may call one.

    Weights must be contiguous, which channels_last is not.
    """
    mesh = init_device_mesh(device().type, (distributed.world(),))
    backbones = [child for child in module.modules() if isinstance(child, Backbone)]
    for unit in [*blocks(module), *backbones, module]:
        fully_shard(unit, mesh=mesh)
    for backbone in backbones:
        for other in (
            "tokens",
            "features_and_tokens",
            "feature_maps",
            "features_and_maps",
            "features_and_places",
        ):
            register_fsdp_forward_method(backbone, other)
    return module


def everywhere(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor in every process; any other as it is. All processes must call
    it.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def on_first(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor on the CPU of rank 0, an empty one elsewhere; any other as it
    is. All must call it.
    """
    if not isinstance(tensor, DTensor):
        return tensor
    whole = tensor.full_tensor()
    return whole.cpu() if distributed.rank() == 0 else whole.new_empty(0)


def like(template: Tensor, whole: Tensor) -> Tensor:
    """``whole``, of which every process has a copy, in the memory layout of ``template`` and shared
    out as it is.
    """
    if isinstance(template, DTensor):
        whole = distribute_tensor(
            whole.to(template.device), template.device_mesh, template.placements, src_data_rank=None
        )
    return torch.empty_like(template).copy_(whole)


def shared_out(whole: Mapping[str, Tensor], templates: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by name, those shared out whose template is."""
    return {
        name: like(templates[name], tensor) if isinstance(templates.get(name), DTensor) else tensor
        for name, tensor in whole.items()
    }


def assembled(backbone: Backbone, fresh: Callable[[], Backbone]) -> Backbone:
    """A sharded backbone as one process would have it, for rank 0 to keep; any other as it is. All
    processes must call it.
    """
    if not isinstance(backbone, FSDPModule):
        return backbone
    state = {name: on_first(tensor) for name, tensor in backbone.state_dict().items()}
    if distributed.rank() > 0:
        return backbone
    made = fresh()
    made.load_state_dict(state)
    return made
