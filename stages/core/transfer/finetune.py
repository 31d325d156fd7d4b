"""Classifiers from labels: a linear probe, a pretrained network trained whole, and labels alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from stages.core.sections import Finetune
from stages.core.training.checkpoint import Resume
from stages.core.training.loop import History, Recipe
from stages.core.transfer.supervised import (
    LabelledBatches,
    resolve_batch,
    resolve_steps,
    train,
    with_head,
)

Ops = Sequence[dict[str, Any]]
WARMUP = 0.3
"""Fraction of the steps in which the rate rises, as in Super-Convergence (2018)."""
BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class Examples:
    """Stored images (n, C, H, W) uint8 with class numbers (n,)."""

    images: Tensor
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Tuned:
    """Settings of supervised training that were picked on validation; they go into ``config.json``.

    Attributes:
        views: name of the augmentation, see :func:`supervised_views`.
        doublings: how often the steps that the number of labels suggests are doubled.
        scratch_rate, rate: peak learning rates from random weights and from pretrained ones.
    """

    views: str = "crop"
    doublings: int = 0
    scratch_rate: float = 4e-3
    rate: float = 1e-3


@dataclass(frozen=True)
class Task:
    """Labels to learn from, labels to choose by, and how classifiers are trained.

    Attributes:
        views: augmentations by name.
        passes: over the labelled images, before any doubling.
        fewest: steps that training has at least, however few the labels.
    """

    train: Examples
    validation: Examples
    classes: int
    preprocess: Preprocess
    views: Mapping[str, Ops]
    settings: Finetune
    passes: int
    fewest: int
    seed: int
    tuned: Tuned = Tuned()

    @property
    def batch_size(self) -> int:
        """Images of a batch."""
        return resolve_batch(self.settings.batch_size, len(self.train))

    @property
    def plateau(self) -> int:
        """Steps that training needs with this many labels, as far as it was measured."""
        return (
            resolve_steps(len(self.train), self.batch_size, self.passes, self.fewest)
            << self.tuned.doublings
        )

    @property
    def steps(self) -> int:
        """Steps that training gets: ``finetune.steps``, or the plateau."""
        return self.settings.steps if isinstance(self.settings.steps, int) else self.plateau

    def with_tuned(self, **changes: Any) -> Task:
        """Return the task with other tuned settings."""
        return replace(self, tuned=replace(self.tuned, **changes))


@dataclass(frozen=True)
class Candidate:
    """Trained classifier and its results on validation."""

    method: str
    network: LinearClassifier
    accuracy: float
    loss: float
    detail: str
    history: History
    encoder: str = ""
    undertrained: bool = False
    rate: float = 0.0

    @property
    def name(self) -> str:
        """Method and encoder, as in ``full from pretrained``."""
        return f"{self.method} from {self.encoder}" if self.encoder else self.method


def linear_candidate(
    backbone: Backbone,
    probe: LinearProbe,
    task: Task,
    encoder: str = "",
    method: str = "linear",
) -> Candidate:
    """Put a linear probe on the encoder as it is; ``method`` says how the probe was fitted."""
    network = with_head(copy.deepcopy(backbone), task.classes, probe)
    found = _judged(method, network, task, f"C = {probe.strength:g}", History())
    return replace(found, encoder=encoder)


def full_candidate(
    backbone: Backbone,
    probe: LinearProbe,
    task: Task,
    encoder: str = "",
    resume: Resume | None = None,
    track: Tracker | None = None,
) -> Candidate:
    """Train a copy of a pretrained network whole, starting with the probe as its head.

    Paper: Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022.
    """
    network = with_head(copy.deepcopy(backbone), task.classes, probe)
    found = _trained("full", network, task, task.tuned.rate, resume, track)
    return replace(found, encoder=encoder)


def scratch_candidate(
    start: Backbone, task: Task, resume: Resume | None = None, track: Tracker | None = None
) -> Candidate:
    """Train a copy of an untrained network on the labels alone, the control of fine-tuning."""
    network = with_head(copy.deepcopy(start), task.classes)
    return _trained("scratch", network, task, task.tuned.scratch_rate, resume, track)


def _trained(
    method: str,
    network: LinearClassifier,
    task: Task,
    rate: float,
    resume: Resume | None,
    track: Tracker | None,
) -> Candidate:
    settings = task.settings
    ops = task.views[task.tuned.views]
    batches = LabelledBatches(
        task.train.images, task.train.labels, ops, task.preprocess, task.batch_size, task.seed
    )
    key = "finetune.scratch_learning_rate" if method == "scratch" else "finetune.learning_rate"
    recipe = Recipe(
        f"finetune {method}",
        task.seed,
        task.steps,
        rate,
        settings.weight_decay,
        warmup=WARMUP,
        precision=settings.precision,
        betas=BETAS,
        rate_key=key,
    )
    history = train(network, batches, recipe, resume, track)
    undertrained = task.steps < task.plateau
    short = f", its plateau is at {task.plateau:,}" if undertrained else ""
    detail = f"{task.steps:,} steps at {rate:g}, views {task.tuned.views}{short}"
    found = _judged(method, network, task, detail, history)
    return replace(found, undertrained=undertrained, rate=rate)


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
