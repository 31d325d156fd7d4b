"""Several processes as one: what torchrun started, or just this process. Every function also works
with one.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stages.core.compute import device


@contextmanager
def process_group() -> Iterator[None]:
    """Join the group that ``torchrun`` describes in the environment (nccl on GPUs, else gloo) and
    leave it at the end.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    store, number, size = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
    if os.environ.get("LOCAL_WORLD_SIZE") == str(size):
        # torchrun on one machine keeps its store when it starts workers anew: addresses of the dead
        # are still in it.
        attempt = f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        store = dist.PrefixStore(attempt, store)  # type: ignore[attr-defined]
    dist.init_process_group(
        "nccl" if device().type == "cuda" else "gloo", store=store, rank=number, world_size=size
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def barrier() -> None:
    """Wait for the others."""
    if world() > 1:
        dist.barrier()


def replicated(module: nn.Module) -> nn.Module:
    """The same weights in every process, gradients averaged; batch statistics stay each process's
    own.
    """
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    buffers = (
        "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    )  # renamed in torch 2.13
    settings: dict[str, Any] = {buffers: False}
    return DistributedDataParallel(module, **settings)


def anywhere(here: bool) -> bool:
    """True in every process when it is true in one."""
    if world() == 1:
        return here
    flag = torch.tensor(float(here), device=device())
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag > 0)


class _Gather(torch.autograd.Function):
    """All-gather along the first axis. Every process computes the loss of the whole batch, so the
    gradient of a shard is the sum of what every process found for it; the mean that DDP takes over
    processes then gives the gradient of one process.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(world())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = (
            gradients[0].contiguous().clone()
        )  # somebody else may have been handed the same gradient
        dist.all_reduce(total)
        return total.chunk(world())[rank()]


def gather(local: Tensor) -> Tensor:
    """``(n, …)`` of every process as ``(world·n, …)`` in the order of ranks, differentiable."""
    gathered: Tensor = _Gather.apply(local) if world() > 1 else local  # type: ignore[no-untyped-call]
    return gathered


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def total(local: Tensor) -> Tensor:
    """Sum over processes, differentiable."""
    summed: Tensor = _Sum.apply(local) if world() > 1 else local  # type: ignore[no-untyped-call]
    return summed


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all processes; unlike torch's own it also works on CPUs
    (gloo).
    """

    def _check_input_dim(self, images: Tensor) -> None:
        if images.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {images.dim()}")

    def forward(self, images: Tensor) -> Tensor:
        """As batch norm; ``(N, C, …)`` of any number of axes."""
        if not self.training or world() == 1:
            return super().forward(images)
        axes = [axis for axis in range(images.dim()) if axis != 1]
        shape = [1, -1, *([1] * (images.dim() - 2))]
        values = images if images.dtype == torch.float64 else images.float()
        count = values.numel() / values.shape[1] * world()
        mean = total(values.sum(dim=axes)) / count
        centred = values - mean.view(shape)
        variance = total(centred.square().sum(dim=axes)) / count
        self._remember(mean.detach(), variance.detach() * (count / max(1.0, count - 1)))
        normal = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(images.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if (
            self.running_mean is None
            or self.running_var is None
            or self.num_batches_tracked is None
        ):
            return
        self.num_batches_tracked.add_(1)
        share = (
            self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        )
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class SyncBatchNormAct(SyncBatchNorm):
    """The same inside timm's norm layers, which carry the activation that follows."""

    act: nn.Module
    drop: nn.Module

    def forward(self, images: Tensor) -> Tensor:
        """Norm, then activation."""
        out: Tensor = self.act(self.drop(super().forward(images)))
        return out


def synchronised(module: nn.Module) -> nn.Module:
    """Make every batch norm see the batches of all processes, in place; weights keep their
    names.
    """
    for child in module.modules():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            child.__class__ = SyncBatchNormAct if hasattr(child, "act") else SyncBatchNorm  # type: ignore[assignment]
    return module
