"""What a run leaves for people and for DVC: the curve of every run as one table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from stages.core.sections import Pretrain
from stages.pretrain.train import Trained

MEASURED = (
    "loss",
    "learning_rate",
    "gradient_norm",
    "embedding_std",
    "knn",
    "rankme",
    "feature_variance",
    "attention_entropy",
)
COLUMNS = ("run", "step", *MEASURED)


def curve(runs: Mapping[str, Trained]) -> Iterator[list[str]]:
    """Rows of ``curve.csv``; a cell is empty where nothing was measured at that step."""
    for label, trained in runs.items():
        for row in trained.history.table(COLUMNS[1:]):
            yield [label, *row]


def metrics(trained: Trained, control: Trained | None, raw: Mapping[str, float]) -> dict[str, Any]:
    """``metrics/pretrain.json``: the encoder's numbers at the top, the control's and raw pixels'
    beside them.
    """
    return {
        **trained.metrics,
        "control": control.metrics if control else None,
        "raw_pixels": dict(raw),
    }


def measured(runs: Mapping[str, Trained], raw: Mapping[str, float]) -> Iterator[str]:
    """A line for every run and for raw pixels; without labels one more, on what measures and what
    labels would add.
    """
    for label, trained in runs.items():
        found = trained.metrics
        yield f"{label}: {found['method']}{_knn(found)}  RankMe {found['rankme']:.1f}"
    yield f"raw pixels:{_knn(raw)}  RankMe {raw['rankme']:.1f}"
    if "knn" not in raw:
        yield (
            "measured without labels: RankMe, the dimensions the features use; labelled images in"
            " train and val (class folders) would add the accuracy of the nearest neighbours,"
            " fine-tuning and evaluation"
        )


def _knn(found: Mapping[str, Any]) -> str:
    return f"  kNN {found['knn']:.3f}" if "knn" in found else ""


def time_shares(trained: Trained) -> dict[str, float]:
    """Seconds by phase and the probes' share; for the tracker, never for an output."""
    seconds = trained.history.seconds
    whole = max(sum(seconds.values()) - seconds["data"], 1e-9)  # compute includes waiting for data
    return {
        **{f"seconds.{name}": value for name, value in seconds.items()},
        "share.probe": seconds["probe"] / whole,
    }


def probe_share(label: str, share: float, params: Pretrain) -> str:
    """A line on the time that probes took; one to act on where it is more than
    ``pretrain.probe_share``.

    It comes after the run: were the next probe put off by a clock, a run would not be a function of
    its parameters.
    """
    took = f"{label}: probes took {share:.1%} of the time"
    if share <= params.probe_share:
        return took
    fitting = math.ceil(params.probe_every * share / params.probe_share)
    return (
        f"WARNING: {took}, more than pretrain.probe_share allows ({params.probe_share:.0%}): images"
        " are not all that costs time on this machine. Probes along the way fit with"
        f" pretrain.probe_every about {fitting} (one always follows the last step)"
    )


def shown(value: float | None, places: int) -> str:
    """Return a number as text; a dash where nothing was measured."""
    return "–" if value is None else f"{value:.{places}f}"
