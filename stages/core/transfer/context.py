"""Inputs of a transfer method: the task, an encoder with its features, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.core.image.backbones import Backbone
from stages.core.metrics.linear_probe import LinearProbe
from stages.core.metrics.representation import Array
from stages.core.transfer.finetune import Candidate, Task, fit_probe, full_candidate
from stages.core.transfer.propagation import fit_propagated

Train = Callable[[Backbone, LinearProbe, Task, str], Candidate]


@dataclass(frozen=True)
class Features:
    """Features (n, D) of the labelled training and validation images, and of training images
    without a label.
    """

    train: Array
    validation: Array
    unlabelled: Array


@dataclass
class Context:
    """One encoder and one set of labels, for any transfer method.

    Attributes:
        scratch: the control, trained from the labels alone.
        encoder: name of the encoder, as the report writes it.
        rates: peak learning rates to try for the encoder trained whole.
        train: trains a pretrained network whole, at the rate of its task.
    """

    task: Task
    scratch: Candidate
    encoder: str
    backbone: Backbone
    features: Features
    rates: Sequence[float]
    train: Train = full_candidate

    @cached_property
    def probe(self) -> LinearProbe:
        """Linear probe on the labelled features."""
        return fit_probe(self.features.train, self.features.validation, self.task)

    @cached_property
    def propagated(self) -> LinearProbe | None:
        """Linear probe on all features, labels propagated; None without unlabelled images."""
        if not len(self.features.unlabelled):
            return None
        return fit_propagated(
            self.features.train,
            self.task.train.labels,
            self.features.unlabelled,
            self.features.validation,
            self.task.validation.labels,
            self.task.classes,
        )

    def train_full(self, rate: float) -> Candidate:
        """Train the encoder whole at a learning rate, from the linear probe."""
        task = self.task.with_tuned(rate=rate)
        return self.train(self.backbone, self.probe, task, self.encoder)


def without(features: Features, draw: np.ndarray) -> Features:
    """Return the features for a part of the labels: all other training images have none."""
    rest = np.setdiff1d(np.arange(len(features.train)), draw)
    unlabelled = np.concatenate([features.train[rest], features.unlabelled])
    return Features(features.train[draw], features.validation, unlabelled)
