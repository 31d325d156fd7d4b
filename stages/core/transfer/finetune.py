"""From an encoder and labels to a classifier, two ways, the better one picked on validation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stages.core.events import Tracker
from stages.core.image.backbones import Backbone
from stages.core.image.preprocess import Preprocess
from stages.core.metrics.intervals import log_loss
from stages.core.metrics.linear_probe import LinearProbe, fit_linear, softmax
from stages.core.metrics.representation import Array, Labels
from stages.core.models.artifact import Classifier, LinearClassifier
from stages.core.params import Finetune
from stages.core.training.checkpoint import Resume
from stages.core.training.loop import History, Recipe
from stages.core.transfer.supervised import LabelledBatches, resolve_steps, train, with_head


@dataclass(frozen=True)
class Examples:
    """Stored images (n, C, H, W) uint8 with class numbers (n,)."""

    images: Tensor
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Task:
    """What every classifier here is trained with: labels to learn from, labels to choose by, and
    how.
    """

    train: Examples
    validation: Examples
    classes: int
    preprocess: Preprocess
    ops: Sequence[dict[str, Any]]
    settings: Finetune
    seed: int


@dataclass(frozen=True)
class Candidate:
    """A trained classifier and how it did on validation."""

    method: str
    network: LinearClassifier
    accuracy: float
    loss: float
    detail: str
    history: History


def linear_candidate(backbone: Backbone, probe: LinearProbe, task: Task) -> Candidate:
    """The encoder untouched under a linear probe."""
    network = with_head(copy.deepcopy(backbone), task.classes, probe)
    return _judged("linear", network, task, f"C = {probe.strength:g}", History())


def full_candidate(
    backbone: Backbone,
    probe: LinearProbe | None,
    task: Task,
    pretrained: bool,
    resume: Resume | None = None,
    track: Tracker | None = None,
) -> Candidate:
    """Every weight trained on the labels, from the probe as head where there is one; ``backbone``
    itself stays as it was.
    """
    network = with_head(copy.deepcopy(backbone), task.classes, probe)
    recipe = finetune_recipe(task)
    batches = LabelledBatches(
        task.train.images,
        task.train.labels,
        task.ops,
        task.preprocess,
        task.settings.batch_size,
        task.seed,
    )
    history = train(network, batches, recipe, frozen_norm=pretrained, resume=resume, track=track)
    return _judged("full", network, task, f"{recipe.steps} steps", history)


def finetune_recipe(task: Task) -> Recipe:
    """The step loop's settings for this many labels."""
    settings = task.settings
    steps = resolve_steps(settings.steps, len(task.train), settings.batch_size)
    rate, decay = settings.learning_rate, settings.weight_decay
    return Recipe(
        "finetune",
        task.seed,
        steps,
        rate,
        decay,
        precision=settings.precision,
        rate_key="finetune.learning_rate",
    )


def fit_probe(features: Array, validation_features: Array, task: Task) -> LinearProbe:
    """The linear probe of a task on given features."""
    return fit_linear(
        features, task.train.labels, validation_features, task.validation.labels, task.classes
    )


def better(first: Candidate, second: Candidate) -> Candidate:
    """The one with the higher validation accuracy; at equal accuracy the one with the lower
    validation loss.
    """
    return first if (first.accuracy, -first.loss) >= (second.accuracy, -second.loss) else second


def logits(network: LinearClassifier, preprocess: Preprocess, images: Tensor) -> Array:
    """(N, K) of stored images, in eval mode: logarithms of the probabilities the saved classifier
    would give.
    """
    named = [str(number) for number in range(network.head.out_features)]
    shares = Classifier(network, preprocess, {"classes": named}).predict_proba(images)
    out: Array = torch.log(shares.double().clamp_min(1e-30)).float().numpy()
    return out


def _judged(
    method: str, network: LinearClassifier, task: Task, detail: str, history: History
) -> Candidate:
    scores = logits(network, task.preprocess, task.validation.images)
    accuracy = float((scores.argmax(axis=1) == task.validation.labels).mean())
    return Candidate(
        method,
        network,
        accuracy,
        log_loss(softmax(scores), task.validation.labels),
        detail,
        history,
    )
