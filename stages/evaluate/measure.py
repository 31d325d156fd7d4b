"""Every row of the table: frozen encoders, networks trained from scratch, fine-tuned ones, at every
label budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from stages.core import plugins
from stages.core.image.backbones import Backbone, create_backbone
from stages.core.metrics.representation import Labels, embed, pixel_features
from stages.core.models.artifact import Encoder
from stages.core.progress import Progress
from stages.core.random import address
from stages.core.transfer.context import METHODS, Context, Features
from stages.core.transfer.finetune import (
    Candidate,
    Examples,
    Task,
    better,
    fit_probe,
    full_candidate,
    logits,
    scratch_candidate,
)
from stages.evaluate.evaluation import Inputs
from stages.evaluate.ladder import ALL, Budget, Labelled, Row, Subject, frozen_rows
from stages.evaluate.propagated import propagated_features

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
    subjects: dict[str, Subject] = {}
    with Progress("evaluate", total=len(encoders) + 1 + trainings, unit="rows") as bar:
        for name in ENCODERS:
            if name == "pixels" or name in encoders:
                subjects[name] = _subject(inputs, name, encoders)
                rows += frozen_rows(subjects[name], steps, inputs.settings.protocols)
                bar.advance(1)
        for step in few:
            rows += _trained_rows(inputs, step, subjects, lambda: bar.advance(1))
        rows += _artifact_rows(inputs, steps[-1])
        for name in inputs.usable:
            rows.append(_full_row(inputs, name, steps[-1], subjects[name].features))
            bar.advance(1)
    return rows, {name: subject.features for name, subject in subjects.items()}


def _subject(inputs: Inputs, name: str, encoders: Mapping[str, Encoder]) -> Subject:
    features = _features(inputs, name, encoders)
    spread = None
    if len(inputs.pool) and name in {*PROPAGATED, *inputs.usable}:
        spread = propagated_features(inputs, encoders.get(name), features)
    return Subject(name, features, inputs.truth, inputs.settings.neighbours, inputs.draws, spread)


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


def _predicted(inputs: Inputs, candidate: Candidate) -> Labels:
    """Return the answers of a candidate to the test images, class numbers (n,)."""
    images = inputs.store.gather(inputs.rows.test)
    found: Labels = logits(candidate.network, inputs.task.preprocess, images).argmax(axis=1)
    return found


def _row(
    inputs: Inputs,
    model: str,
    protocol: str,
    step: Budget,
    answers: list[Labels],
    candidates: list[Candidate],
) -> Row:
    validation = float(np.mean([candidate.accuracy for candidate in candidates]))
    chosen = ", ".join(
        dict.fromkeys(f"{candidate.name}: {candidate.detail}" for candidate in candidates)
    )
    undertrained = any(candidate.undertrained for candidate in candidates)
    predicted, truth = np.stack(answers, axis=1), inputs.truth.test
    return Row(
        model, protocol, step.name, step.images, predicted, truth, validation, chosen, undertrained
    )


def _trained_rows(
    inputs: Inputs,
    step: Budget,
    subjects: Mapping[str, Subject],
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
    methods = [plugins.load(METHODS, name) for name in inputs.task.settings.candidates]
    alone = not inputs.usable or not all(method.ENCODER for method in methods)
    for draw in step.draws:
        task = _subtask(inputs, draw)
        scratch.append(scratch_candidate(start, task))
        offered = [scratch[-1]] if alone else []
        for name in inputs.usable:
            context = _context(inputs, subjects[name], task, scratch[-1], draw)
            full[name].append(context.full)
            made = [method.fit(context) for method in methods if method.ENCODER]
            offered += [candidate for candidate in made if candidate is not None]
        picked.append(reduce(better, offered))
        advance()
    found = {"scratch": ("full", scratch), "finetuned": ("picked", picked)}
    found |= {name: ("full", candidates) for name, candidates in full.items()}
    answers = {
        id(one): _predicted(inputs, one) for _, candidates in found.values() for one in candidates
    }
    return [
        _row(inputs, model, protocol, step, [answers[id(one)] for one in candidates], candidates)
        for model, (protocol, candidates) in found.items()
    ]


def _context(
    inputs: Inputs, subject: Subject, task: Task, scratch: Candidate, draw: Labels
) -> Context:
    """Return the inputs of a transfer method for a draw of labels."""
    own = subject.features
    unlabelled = own.train[:0]
    if subject.spread is not None:
        rest = np.setdiff1d(np.arange(len(own.train)), draw)
        unlabelled = np.concatenate([own.train[rest], subject.spread[1]])
    features = Features(own.train[draw], own.validation, unlabelled)
    backbone = inputs.encoders[subject.model].backbone
    return Context(task, scratch, subject.model, backbone, features, [task.tuned.rate])


def _artifact_rows(inputs: Inputs, step: Budget) -> list[Row]:
    """The classifier that gets registered and the control trained from labels alone, themselves."""
    rows = []
    for model, protocol, classifier in (
        ("finetuned", "picked", inputs.classifier),
        ("scratch", "full", inputs.scratch),
    ):
        probabilities = classifier.predict_proba(inputs.store.gather(inputs.rows.test)).numpy()
        held = classifier.predict_proba(inputs.task.validation.images).numpy()
        predicted = probabilities.argmax(axis=1)[:, None]
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
                predicted,
                inputs.truth.test,
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
    return _row(inputs, name, "full", step, [_predicted(inputs, candidate)], [candidate])
