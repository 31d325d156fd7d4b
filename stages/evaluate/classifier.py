"""What there is to know about the classifier that gets registered: errors, calibration, worst
class, robustness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stages.core.metrics.intervals import (
    Bin,
    Interval,
    bootstrap_interval,
    calibration_error,
    confusion,
    log_loss,
    paired_bootstrap,
    reliability,
    wilson_interval,
)
from stages.core.metrics.representation import Array, Labels
from stages.core.models.artifact import Classifier
from stages.evaluate.corruptions import CORRUPTIONS, SEVERITIES

CORRUPTED = 2000
"""Test images that are corrupted, at most."""


@dataclass(frozen=True)
class Verdict:
    """Predictions on the test split and what follows from them."""

    probabilities: Array  # (n, K)
    predicted: Labels  # (n,)
    accuracy: Interval
    confusion: NDArray[np.int64]  # (K, K), row is the truth
    by_class: list[Interval]
    worst_class: int
    reliability: list[Bin]
    calibration_error: float
    log_loss: float
    chosen: Labels  # (m,) positions of the test images that were corrupted
    corrupted: dict[str, Labels]  # "noise-2" → predictions (m,) on them
    corruptions: dict[str, list[Interval]]
    mean_corrupted: Interval
    corruption_loss: Interval

    @property
    def worst(self) -> Interval:
        """Accuracy of the worst class."""
        return self.by_class[self.worst_class]


def judge(
    classifier: Classifier, images: Tensor, truth: Labels, resamples: int, seed: int
) -> Verdict:
    """Judge on the test images (n, C, H, W) uint8 with their class numbers (n,); evenly spread ones
    are also corrupted.
    """
    probabilities = classifier.predict_proba(images).numpy()
    predicted: Labels = probabilities.argmax(axis=1)
    correct = predicted == truth
    counts = confusion(truth, predicted, len(classifier.classes))
    by_class = [
        wilson_interval(int(row[index]), int(row.sum())) for index, row in enumerate(counts)
    ]
    seen = [index for index, row in enumerate(counts) if row.sum()]
    chosen = np.linspace(0, len(truth) - 1, min(CORRUPTED, len(truth))).round().astype(np.int64)
    some, right = images[chosen], truth[chosen]
    answers = {
        f"{name}-{severity}": classifier.predict_proba(corrupt(some, severity, seed))
        .numpy()
        .argmax(axis=1)
        for name, corrupt in CORRUPTIONS.items()
        for severity in SEVERITIES
    }
    hits = {name: answer == right for name, answer in answers.items()}
    mean = np.mean(list(hits.values()), axis=0)
    return Verdict(
        probabilities=probabilities,
        predicted=predicted,
        accuracy=bootstrap_interval(correct, resamples, seed),
        confusion=counts,
        by_class=by_class,
        worst_class=min(seen, key=lambda index: by_class[index].value),
        reliability=reliability(probabilities, truth),
        calibration_error=calibration_error(probabilities, truth),
        log_loss=log_loss(probabilities, truth),
        chosen=chosen,
        corrupted=answers,
        corruptions={
            name: [
                bootstrap_interval(hits[f"{name}-{severity}"], resamples, seed)
                for severity in SEVERITIES
            ]
            for name in CORRUPTIONS
        },
        mean_corrupted=bootstrap_interval(mean, resamples, seed),
        corruption_loss=paired_bootstrap(mean, correct[chosen], resamples, seed),
    )
