"""Every row of the table: frozen encoders, networks trained from scratch, fine-tuned ones, at every
label budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from stages.core.image.backbones import Backbone, create_backbone
from stages.core.metrics.representation import Array, Labels, embed, pixel_features
from stages.core.models.artifact import Encoder
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
    scratch_candidate,
)
from stages.evaluate.evaluation import Inputs
from stages.evaluate.ladder import ALL, Budget, Labelled, Row, frozen_rows
from stages.evaluate.propagated import propagated_features, propagated_probe, propagated_row

PROPAGATED = ("pixels", "random")
"""Controls that get the unlabelled images, too."""
ENCODERS = ("pixels", "random", "random-student", "control", "start", "pretrained", "distilled")


def measure(inputs: Inputs) -> tuple[list[Row], dict[str, Labelled]]:
    """All rows, and the features of the encoders by name."""
    steps = inputs.steps
    encoders = {**_controls(inputs), **inputs.encoders}
    few = [step for step in steps if step.name != ALL]
    trainings = sum(min(len(step.draws), inputs.draws) for step in few) + len(inputs.usable)
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
        spread = {
            name: propagated_features(inputs, encoders.get(name), features[name])
            for name in (*PROPAGATED, *inputs.usable)
            if len(inputs.pool)
        }
        for name, found in spread.items():
            rows += [propagated_row(inputs, name, step, *found) for step in steps]
        for step in few:
            rows += _trained_rows(inputs, step, features, spread, lambda: bar.advance(1))
        rows += _artifact_rows(inputs, steps[-1])
        for name in inputs.usable:
            rows.append(_full_row(inputs, name, steps[-1], features[name]))
            bar.advance(1)
    return rows, features


def _controls(inputs: Inputs) -> dict[str, Encoder]:
    """Networks with random weights, built as the teacher and, if there is one, as the student."""
    names = {"random": "pretrained", "random-student": "distilled"}
    return {
        control: Encoder(
            _untrained(inputs.encoders[name].backbone, inputs.task.seed),
            inputs.task.preprocess,
            {},
        )
        for control, name in names.items()
        if name in inputs.encoders
    }


def _untrained(like: Backbone, seed: int) -> Backbone:
    return create_backbone(
        like.name, like.channels, like.size, address(seed, "untrained"), like.stem
    )


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
        dict.fromkeys(f"{candidate.name}: {candidate.detail}" for candidate in candidates)
    )
    undertrained = any(candidate.undertrained for candidate in candidates)
    accuracy = np.stack(correct, axis=1)
    return Row(model, protocol, step.name, step.images, accuracy, validation, chosen, undertrained)


def _trained_rows(
    inputs: Inputs,
    step: Budget,
    features: Mapping[str, Labelled],
    spread: Mapping[str, tuple[Labelled, Array]],
    advance: Callable[[], None],
) -> list[Row]:
    """The finetune stage with fewer labels, draw by draw: labels alone, every encoder trained
    whole, and the best candidate of ``finetune.candidates`` on validation.
    """
    step = replace(step, draws=step.draws[: inputs.draws])
    start = _untrained(inputs.encoders["pretrained"].backbone, inputs.task.seed)
    scratch: list[Candidate] = []
    picked: list[Candidate] = []
    full: dict[str, list[Candidate]] = {name: [] for name in inputs.usable}
    wanted = inputs.task.settings.candidates
    for draw in step.draws:
        task = _subtask(inputs, draw)
        scratch.append(scratch_candidate(start, task))
        offered = [scratch[-1]] if "scratch" in wanted or not inputs.usable else []
        for name in inputs.usable:
            backbone = inputs.encoders[name].backbone
            probe = fit_probe(features[name].train[draw], features[name].validation, task)
            full[name].append(full_candidate(backbone, probe, task, name))
            if "linear" in wanted:
                offered.append(linear_candidate(backbone, probe, task, name))
            if "propagated" in wanted and name in spread:
                wide = propagated_probe(inputs, draw, *spread[name])
                offered.append(linear_candidate(backbone, wide, task, name, "propagated"))
            if "full" in wanted:
                offered.append(full[name][-1])
        picked.append(reduce(better, offered))
        advance()
    found = {"scratch": ("full", scratch), "finetuned": ("picked", picked)}
    found |= {name: ("full", candidates) for name, candidates in full.items()}
    correct = {
        id(one): _correct(inputs, one) for _, candidates in found.values() for one in candidates
    }
    return [
        _row(model, protocol, step, [correct[id(one)] for one in candidates], candidates)
        for model, (protocol, candidates) in found.items()
    ]


def _artifact_rows(inputs: Inputs, step: Budget) -> list[Row]:
    """The classifier that gets registered and the control trained from labels alone, themselves."""
    rows = []
    for model, protocol, classifier in (
        ("finetuned", "picked", inputs.classifier),
        ("scratch", "full", inputs.scratch),
    ):
        probabilities = classifier.predict_proba(inputs.store.gather(inputs.rows.test)).numpy()
        held = classifier.predict_proba(inputs.task.validation.images).numpy()
        correct = (probabilities.argmax(axis=1) == inputs.truth.test)[:, None]
        validation = float((held.argmax(axis=1) == inputs.truth.validation).mean())
        config = classifier.config
        short = (
            config["method"] not in {"linear", "propagated"}
            and inputs.task.steps < inputs.task.plateau
        )
        rows.append(
            Row(
                model,
                protocol,
                step.name,
                step.images,
                correct,
                validation,
                _shipped(config),
                short,
            )
        )
    return rows


def _shipped(config: Mapping[str, Any]) -> str:
    return str(config["method"]) + (
        f" from {config['encoder_name']}" if config.get("encoder_name") else ""
    )


def _full_row(inputs: Inputs, name: str, step: Budget, features: Labelled) -> Row:
    """An encoder trained whole on all labels: from the finetune stage's settings, trained again."""
    probe = fit_probe(features.train, features.validation, inputs.task)
    candidate = full_candidate(inputs.encoders[name].backbone, probe, inputs.task, name)
    return _row(name, "full", step, [_correct(inputs, candidate)], [candidate])
