"""What watches a run: losses that are no numbers stop it with the evidence written down, spikes are
counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stages.core import paths
from stages.core.errors import StageFailed
from stages.core.io import write_json

PATIENCE = 3
SPIKE = 5.0
"""So many times the running level counts as a spike."""
MEMORY = 0.98


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
            StageFailed: the third non-finite loss or gradient in a row; ids and seed are in
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
            raise StageFailed(
                f"step {step}: the loss was not finite {PATIENCE} times in a row ({values}); the"
                f" ids of the batch and the seed are in {where}; try a lower learning rate or fp32"
            )

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
