"""What fine-tuning has to tell: metrics, the curve, the two candidates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stages.core.metrics.intervals import bootstrap_interval, calibration_error
from stages.core.metrics.linear_probe import softmax
from stages.core.metrics.representation import Array, Labels
from stages.core.models.artifact import Encoder
from stages.core.params import Params
from stages.core.training.checkpoint import Identity, Resume, digest
from stages.core.training.loop import History
from stages.core.transfer.finetune import Candidate, Task

CURVE = ("step", "loss", "accuracy", "learning_rate")
Rows = tuple[Sequence[str], Iterable[Sequence[Any]]]


def resume_for(params: Params, encoder: Encoder, ids: list[str]) -> Resume:
    """Checkpoints that only the same parameters, encoder and labelled images find again."""
    weights = {
        name: tensor.double().sum().item() for name, tensor in encoder.backbone.state_dict().items()
    }
    inputs = {"encoder": digest([encoder.config, weights]), "images": digest(ids)}
    return Resume(Identity({"seed": params.seed, **params.finetune.model_dump()}, inputs))


def metrics(
    linear: Candidate,
    full: Candidate,
    picked: Candidate,
    before: Array,
    labels: Labels,
    degrees: float,
    task: Task,
) -> dict[str, Any]:
    """Validation figures; the test split has not been seen. Calibration here is measured where it
    was fitted.
    """
    correct = before.argmax(axis=1) == labels
    interval = bootstrap_interval(correct, 1000, task.seed)
    return {
        "accuracy": interval.value,
        "low": interval.low,
        "high": interval.high,
        "linear": {"accuracy": linear.accuracy, "log_loss": linear.loss},
        "full": {"accuracy": full.accuracy, "log_loss": full.loss, **full.history.counts},
        "picked": picked.method,
        "temperature": degrees,
        "calibration_error": calibration_error(
            softmax((before / degrees).astype(np.float32)), labels
        ),
        "labelled_images": len(task.train),
        "validation_images": len(task.validation),
        "classes": task.classes,
    }


def curve(history: History) -> Rows:
    """Loss and training accuracy by step."""
    return CURVE, history.table(CURVE)


def candidates(linear: Candidate, full: Candidate, picked: Candidate) -> Rows:
    """Both candidates on validation."""
    header = ("method", "validation_accuracy", "validation_log_loss", "detail", "picked")
    return header, [
        [
            one.method,
            f"{one.accuracy:.6g}",
            f"{one.loss:.6g}",
            one.detail,
            str(one is picked).lower(),
        ]
        for one in (linear, full)
    ]
