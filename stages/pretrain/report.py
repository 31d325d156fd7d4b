"""What a run leaves for people and for DVC: the curve of every run as one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stages.core.training.loop import Row
from stages.pretrain.train import Trained

MEASURED = ("loss", "learning_rate", "gradient_norm", "embedding_std", "knn", "rankme", "feature_variance", "attention_entropy")
COLUMNS = ("run", "step", *MEASURED)


def curve(runs: Mapping[str, Trained]) -> Iterator[list[str]]:
    """Rows of ``curve.csv``; a cell is empty where nothing was measured at that step."""
    for label, trained in runs.items():
        for row in trained.history.rows:
            yield [label, *(_cell(row, column) for column in COLUMNS[1:])]


def metrics(trained: Trained, control: Trained | None, raw: Mapping[str, float]) -> dict[str, Any]:
    """``metrics/pretrain.json``: the encoder's numbers at the top, the control's and raw pixels' beside them."""
    return {**trained.metrics, "control": control.metrics if control else None, "raw_pixels": dict(raw)}


def time_shares(trained: Trained) -> dict[str, float]:
    """Seconds by phase and the probes' share; for the tracker, never for an output."""
    seconds = trained.history.seconds
    whole = max(sum(seconds.values()) - seconds["data"], 1e-9)  # compute includes waiting for data
    return {**{f"seconds.{name}": value for name, value in seconds.items()}, "share.probe": seconds["probe"] / whole}


def _cell(row: Row, column: str) -> str:
    if column not in row:
        return ""
    return str(int(row[column])) if column == "step" else f"{row[column]:.6g}"
