"""Inputs of a transfer method: the task, an encoder with its features, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

from stages.core.image.backbones import Backbone
from stages.core.metrics.linear_probe import LinearProbe
from stages.core.metrics.representation import Array
from stages.core.transfer.finetune import Candidate, Task, better, fit_probe, full_candidate
from stages.core.transfer.propagation import fit_propagated

METHODS = "stages.core.transfer.methods"
"""Package of the ways to make a classifier that ``finetune.candidates`` names."""
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

    @cached_property
    def full(self) -> Candidate:
        """The encoder trained whole from the linear probe, the best of the rates on validation."""
        tasks = [self.task.with_tuned(rate=rate) for rate in self.rates]
        made = [self.train(self.backbone, self.probe, task, self.encoder) for task in tasks]
        return reduce(better, made)
