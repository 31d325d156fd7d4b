"""Every row of the table: frozen encoders, networks trained from scratch, fine-tuned ones, at every
label budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stages.core.image.backbones import Backbone, create_backbone
from stages.core.image.pixel_store import PixelStore
from stages.core.metrics.representation import Labels, embed, pixel_features
from stages.core.models.artifact import Classifier, Encoder
from stages.core.params import Evaluate
from stages.core.progress import Progress
from stages.core.random import address
from stages.core.transfer.finetune import (
    Candidate,
    Examples,
    Task,
    better,
    fit_probe,
    full_candidate,
    linear_candidate,
    logits,
)
from stages.evaluate.ladder import ALL, Budget, Labelled, Row, Rows, Truth, budgets, frozen_rows

ENCODERS = ("pixels", "random", "random-student", "control", "pretrained", "distilled")


@dataclass(frozen=True)
class Inputs:
    """Everything ``evaluate`` measures on: rows of the store with their labels, the models, and how
    classifiers are trained.

    ``encoders`` are pretrained, distilled and, where it was trained, control.
    """

    store: PixelStore
    rows: Rows
    truth: Truth
    encoders: Mapping[str, Encoder]
    classifier: Classifier
    task: Task
    settings: Evaluate

    @property
    def steps(self) -> list[Budget]:
        """The label budgets."""
        return budgets(
            self.truth.train, self.settings.labels_per_class, self.settings.draws, self.task.seed
        )


def measure(inputs: Inputs) -> tuple[list[Row], dict[str, Labelled]]:
    """All rows, and the features of the encoders by name."""
    steps = inputs.steps
    encoders = {**_controls(inputs), **inputs.encoders}
    few = [step for step in steps if step.name != ALL]
    trainings = (
        sum(2 * min(len(step.draws), inputs.settings.finetune_draws) for step in few)
        + 1
        + len(_finetuned_frozen(inputs))
    )
    rows: list[Row] = []
    features = {}
    with Progress("evaluate", total=len(encoders) + 1 + trainings, unit="rows") as bar:
        for name in ENCODERS:
            if name == "pixels" or name in encoders:
                features[name] = _features(inputs, name, encoders)
                rows += frozen_rows(
                    name, features[name], inputs.truth, steps, inputs.settings.neighbours
                )
                bar.advance(1)
        for step in steps:
            draws = step.draws[: inputs.settings.finetune_draws]
            rows.append(_scratch_row(inputs, replace(step, draws=draws)))
            bar.advance(len(draws))
        for step in few:
            draws = step.draws[: inputs.settings.finetune_draws]
            rows += _finetuned_rows(inputs, replace(step, draws=draws), features["distilled"])
            bar.advance(len(draws))
        rows += _artifact_rows(inputs, steps[-1])
        for name in _finetuned_frozen(inputs):
            rows.append(_full_row(inputs, name, steps[-1], features[name]))
            bar.advance(1)
    return rows, features


def _controls(inputs: Inputs) -> dict[str, Encoder]:
    """Networks with random weights: the teacher's architecture and the student's."""
    return {
        "random": Encoder(
            _untrained(inputs.encoders["pretrained"].backbone, inputs.task.seed),
            inputs.task.preprocess,
            {},
        ),
        "random-student": Encoder(
            _untrained(inputs.encoders["distilled"].backbone, inputs.task.seed),
            inputs.task.preprocess,
            {},
        ),
    }


def _untrained(like: Backbone, seed: int) -> Backbone:
    return create_backbone(like.name, like.channels, like.size, address(seed, "untrained"))


def _finetuned_frozen(inputs: Inputs) -> list[str]:
    """Encoders of the teacher's size that are also fine-tuned, with all labels only: each costs as
    much as it is large.
    """
    return [name for name in ("pretrained", "control") if name in inputs.encoders]


def _features(inputs: Inputs, name: str, encoders: Mapping[str, Encoder]) -> Labelled:
    rows = (inputs.rows.train, inputs.rows.validation, inputs.rows.test)
    if name == "pixels":
        return Labelled(*(pixel_features(inputs.store, part) for part in rows))
    every = embed(encoders[name], inputs.store, np.concatenate(rows), f"features of {name}")
    ends = np.cumsum([len(part) for part in rows])
    return Labelled(*np.split(every, ends[:-1]))


def _subtask(inputs: Inputs, draw: Labels) -> Task:
    chosen = Examples(inputs.task.train.images[draw], inputs.task.train.labels[draw])
    return replace(inputs.task, train=chosen)


def _correct(inputs: Inputs, candidate: Candidate) -> np.ndarray:
    """Which test images a candidate gets right, (n,)."""
    images = inputs.store.gather(inputs.rows.test)
    right: np.ndarray = (
        logits(candidate.network, inputs.task.preprocess, images).argmax(axis=1)
        == inputs.truth.test
    )
    return right


def _row(
    model: str, protocol: str, step: Budget, correct: list[Any], candidates: list[Candidate]
) -> Row:
    validation = float(np.mean([candidate.accuracy for candidate in candidates]))
    chosen = ", ".join(
        dict.fromkeys(f"{candidate.method}: {candidate.detail}" for candidate in candidates)
    )
    return Row(
        model, protocol, step.name, step.images, np.stack(correct, axis=1), validation, chosen
    )


def _scratch_row(inputs: Inputs, step: Budget) -> Row:
    """The student's architecture from random weights: labels and steps as in fine-tuning, the
    learning rate its own.
    """
    start = _untrained(inputs.encoders["distilled"].backbone, inputs.task.seed)
    own = inputs.task.settings.model_copy(
        update={"learning_rate": inputs.settings.scratch_learning_rate}
    )
    tasks = [replace(_subtask(inputs, draw), settings=own) for draw in step.draws]
    candidates = [full_candidate(start, None, task, pretrained=False) for task in tasks]
    return _row("scratch", "full", step, [_correct(inputs, one) for one in candidates], candidates)


def _finetuned_rows(inputs: Inputs, step: Budget, features: Labelled) -> list[Row]:
    """What the finetune stage does, with fewer labels: both ways, the better on validation kept,
    draw by draw.
    """
    full, picked = [], []
    backbone = inputs.encoders["distilled"].backbone
    for draw in step.draws:
        task = _subtask(inputs, draw)
        probe = fit_probe(features.train[draw], features.validation, task)
        full.append(full_candidate(backbone, probe, task, pretrained=True))
        picked.append(better(full[-1], linear_candidate(backbone, probe, task)))
    correct = {id(one): _correct(inputs, one) for one in [*full, *picked]}
    return [
        _row("distilled", "full", step, [correct[id(one)] for one in full], full),
        _row("finetuned", "picked", step, [correct[id(one)] for one in picked], picked),
    ]


def _artifact_rows(inputs: Inputs, step: Budget) -> list[Row]:
    """The classifier that gets registered, itself: ``models/finetuned`` on the test images."""
    probabilities = inputs.classifier.predict_proba(inputs.store.gather(inputs.rows.test)).numpy()
    held = inputs.classifier.predict_proba(inputs.task.validation.images).numpy()
    correct = (probabilities.argmax(axis=1) == inputs.truth.test)[:, None]
    validation = float((held.argmax(axis=1) == inputs.truth.validation).mean())
    method = str(inputs.classifier.config["method"])
    row = Row("finetuned", "picked", step.name, step.images, correct, validation, method)
    return [row, replace(row, model="distilled", protocol="full")] if method == "full" else [row]


def _full_row(inputs: Inputs, name: str, step: Budget, features: Labelled) -> Row:
    probe = fit_probe(features.train, features.validation, inputs.task)
    candidate = full_candidate(inputs.encoders[name].backbone, probe, inputs.task, pretrained=True)
    return _row(name, "full", step, [_correct(inputs, candidate)], [candidate])
