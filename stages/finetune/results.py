"""Results of fine-tuning: metrics, the curve of the classifier that ships, all candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from stages.core.metrics.intervals import bootstrap_interval, calibration_error
from stages.core.metrics.linear_probe import softmax
from stages.core.models.artifact import Encoder
from stages.core.params import Params
from stages.core.training.checkpoint import Identity, Resume, digest, identity_of
from stages.core.training.loop import History
from stages.core.transfer.finetune import Candidate, Task
from stages.finetune.finetune import Finetuned

CURVE = ("step", "loss", "accuracy", "learning_rate")
Rows = tuple[Sequence[str], Iterable[Sequence[Any]]]


def resume_for(
    params: Params, encoders: Mapping[str, Encoder], ids: list[str]
) -> Callable[[str], Resume]:
    """Return checkpoints by the name of a training; only equal parameters, encoders and images find
    them again.
    """
    weights = {
        name: identity_of(encoder.backbone, encoder.config) for name, encoder in encoders.items()
    }
    inputs = {"encoders": digest(weights), "images": digest(ids)}
    parameters = {"seed": params.seed, "budget": params.budget, **params.finetune.model_dump()}
    return lambda name: Resume(Identity({**parameters, "training": name}, inputs))


def metrics(found: Finetuned, task: Task) -> dict[str, Any]:
    """Return validation figures; the test split has not been seen. Calibration is measured where it
    was fitted.
    """
    labels = task.validation.labels
    interval = bootstrap_interval(found.before.argmax(axis=1) == labels, 1000, task.seed)
    scaled = softmax((found.before / found.temperature).astype(np.float32))
    values: dict[str, Any] = {
        "accuracy": interval.value,
        "low": interval.low,
        "high": interval.high,
        "picked": found.picked.name,
        "tuned": asdict(found.tuned),
        "temperature": found.temperature,
        "calibration_error": calibration_error(scaled, labels),
        "labelled_images": len(task.train),
        "validation_images": len(task.validation),
        "classes": task.classes,
    }
    for one in [found.scratch, *found.candidates]:
        best = values.get(one.method)
        if best is None or one.accuracy > best["accuracy"]:
            values[one.method] = {"accuracy": one.accuracy, "log_loss": one.loss}
    return values


def curve(history: History) -> Rows:
    """Return loss and training accuracy by step."""
    return CURVE, history.table(CURVE)


def candidates(found: Finetuned, tried: Sequence[tuple[Candidate, str]]) -> Rows:
    """Return every training on validation, those of the search included."""
    header = (
        "method",
        "encoder",
        "validation_accuracy",
        "validation_log_loss",
        "detail",
        "note",
        "picked",
    )
    return header, [
        [
            one.method,
            one.encoder,
            f"{one.accuracy:.6g}",
            f"{one.loss:.6g}",
            one.detail,
            note,
            str(one is found.picked).lower(),
        ]
        for one, note in tried
    ]
