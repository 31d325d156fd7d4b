"""What this machine computes on, and how: device, precision, and settings that make the same input
give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Literal, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Precision = Literal["auto", "bf16", "fp32"]
P = ParamSpec("P")
R = TypeVar("R")


def device() -> torch.device:
    """The GPU of this process if there is one, else the CPU; ``LOCAL_RANK`` (torchrun) picks among
    several.
    """
    if torch.cuda.is_available():
        return torch.device(
            "cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
        )
    return torch.device("cpu")


def resolve_precision(precision: str) -> Literal["bf16", "fp32"]:
    """``auto`` is bf16 where the processor multiplies bf16 in hardware (GPU, AMX, AVX-512 BF16),
    else fp32: never a timing.
    """
    if precision == "auto":
        return "bf16" if _multiplies_bf16() else "fp32"
    if precision == "bf16":
        return "bf16"
    return "fp32"


@contextmanager
def autocast(precision: str) -> Iterator[None]:
    """The mixed-precision context of a forward pass; it does nothing for fp32."""
    where, bf16 = device().type, resolve_precision(precision) == "bf16"
    with (
        torch.autocast(where, dtype=torch.bfloat16, enabled=bf16),
        _attention_by_products(where == "cpu" and bf16),
    ):
        yield


@contextmanager
def _attention_by_products(wanted: bool) -> Iterator[None]:
    """On CPUs torch's fused attention has a bf16 backward pass that is five times slower than plain
    matrix products.
    """
    if not wanted:
        yield
        return
    allowed = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(
        True
    )  # its name says cuda, but CPUs look at it, too
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(allowed)


def deterministic() -> None:
    """Choose kernels that always sum in the same order. Called once by every stage that trains or
    embeds.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory with NaN costs time and guards against reading what was never written,
    # which nothing here does.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def describe(precision: str = "auto") -> dict[str, str]:
    """What byte-identity depends on besides inputs and parameters; goes into the run as tags, never
    into an output.
    """
    where = device()
    kind = (
        torch.cuda.get_device_name(where)
        if where.type == "cuda"
        else torch.backends.cpu.get_cpu_capability()
    )
    return {
        "torch": torch.__version__,
        "device": where.type,
        "processor": kind,
        "threads": str(torch.get_num_threads()),
        "precision": resolve_precision(precision),
        "bf16_in_hardware": str(_multiplies_bf16()).lower(),
    }


def _multiplies_bf16() -> bool:
    if device().type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def full_precision(loss: Callable[P, R]) -> Callable[P, R]:
    """End autocast where a function begins: sums over a batch lose too much in bf16."""

    @wraps(loss)
    def outside_autocast(*arguments: P.args, **named: P.kwargs) -> R:
        with torch.autocast(device().type, enabled=False):
            return loss(*arguments, **named)

    return outside_autocast


def wide(z: Tensor) -> Tensor:
    """Return ``z`` as fp32, or as fp64 where that is what came in."""
    return z if z.dtype == torch.float64 else z.float()
