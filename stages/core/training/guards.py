"""What watches a run: losses that are no numbers stop it with the evidence written down, spikes are
counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from stages.core import paths
from stages.core.errors import StageFailed
from stages.core.io import write_json

PATIENCE = 3
SPIKE = 5.0
"""So many times the running level counts as a spike."""
MEMORY = 0.98


class Diverged(StageFailed):
    """Raised when losses, weights or features are no numbers any more."""


def finite_weights(module: nn.Module) -> bool:
    """Return whether weights and batch statistics, of this process's part where several share them,
    are all numbers.
    """
    tensors = [*module.parameters(), *module.buffers()]
    local: list[Tensor] = [
        tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors
    ]
    good = [
        torch.isfinite(tensor).all()
        for tensor in local
        if tensor.is_floating_point() and tensor.numel()
    ]
    return not good or bool(torch.stack(good).all())


class Guard:
    """Sees every step's loss and gradient norm. Its state is a few numbers that travel in the
    checkpoint.
    """

    def __init__(self, stage: str, seed: int) -> None:
        self.stage, self.seed = stage, seed
        self.state: dict[str, float] = {
            "bad_in_a_row": 0,
            "bad": 0,
            "loss_spikes": 0,
            "gradient_spikes": 0,
        }

    def see(self, step: int, values: Mapping[str, float], ids: Callable[[], list[str]]) -> None:
        """Take in one step.

        Raises:
            Diverged: the third non-finite loss or gradient in a row; ids and seed are in
                ``.rootstock/failed/``.
        """
        if math.isfinite(values["loss"]) and math.isfinite(values["gradient_norm"]):
            self.state["bad_in_a_row"] = 0
            self._spike("loss", abs(values["loss"]))
            self._spike("gradient", values["gradient_norm"])
            return
        self.state["bad"] += 1
        self.state["bad_in_a_row"] += 1
        if self.state["bad_in_a_row"] >= PATIENCE:
            where = self._write(step, values, ids())
            told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            raise Diverged(
                f"diverged at step {step}: the loss was not finite {PATIENCE} times in a row"
                f" ({told}; the ids of the batch and the seed are in {where})"
            )

    @property
    def calm(self) -> bool:
        """Whether the last step was good: only then are the weights worth keeping."""
        return self.state["bad_in_a_row"] == 0

    def counts(self) -> dict[str, int]:
        """Numbers for the metrics file."""
        return {name: int(self.state[name]) for name in ("bad", "loss_spikes", "gradient_spikes")}

    def _spike(self, name: str, value: float) -> None:
        level = self.state.get(f"{name}_level", value)
        if value > SPIKE * level > 0:
            self.state[f"{name}_spikes"] += 1
        self.state[f"{name}_level"] = MEMORY * level + (1 - MEMORY) * value

    def _write(self, step: int, values: Mapping[str, float], ids: list[str]) -> Path:
        where = paths.STATE / "failed" / f"{self.stage}.json"
        shown: dict[str, Any] = {name: str(value) for name, value in values.items()}
        write_json(
            where,
            {"stage": self.stage, "step": step, "seed": self.seed, "ids": ids, "values": shown},
        )
        return where
