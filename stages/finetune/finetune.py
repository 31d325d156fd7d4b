"""From encoders and labels to a classifier: every candidate is trained, the best on validation is
kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stages.core.budget import Budget
from stages.core.image.backbones import Backbone
from stages.core.metrics.representation import Array
from stages.core.models.artifact import Encoder
from stages.core.transfer.finetune import (
    Candidate,
    Task,
    Tuned,
    better,
    fit_probe,
    linear_candidate,
    logits,
)
from stages.core.transfer.propagation import fit_propagated
from stages.core.transfer.supervised import cool, temperature
from stages.finetune.tuning import Trials, tune_full, tune_scratch


@dataclass(frozen=True)
class EncoderFeatures:
    """Encoder with its features (n, D) of the labelled training and validation images, and of
    training images without a label.
    """

    encoder: Encoder
    train: Array
    validation: Array
    unlabelled: Array


@dataclass(frozen=True)
class Finetuned:
    """Result of fine-tuning: the classifier that ships, its calibration, and the control trained
    from labels alone.

    Attributes:
        before: logits (n, K) of the validation images before the temperature was folded in.
    """

    picked: Candidate
    scratch: Candidate
    candidates: list[Candidate]
    tuned: Tuned
    before: Array
    temperature: float


def finetune(
    task: Task,
    encoders: Mapping[str, EncoderFeatures],
    start: Backbone,
    budget: Budget,
    trials: Trials,
) -> Finetuned:
    """Train every candidate of ``finetune.candidates`` and keep the best on validation, its
    confidence calibrated there.

    Args:
        encoders: pretrained ones by name; none leaves labels alone. start: untrained network for
        training from labels alone; it fixes the augmentation and the length for all.
    """
    scratch, tuned = tune_scratch(start, task, budget.doublings, trials)
    wanted = task.settings.candidates
    candidates = [scratch] if "scratch" in wanted or not encoders else []
    best_full: Candidate | None = None
    for name, features in encoders.items():
        own = replace(task, tuned=tuned)
        probe = fit_probe(features.train, features.validation, own)
        if "linear" in wanted:
            linear = linear_candidate(features.encoder.backbone, probe, own, name)
            candidates.append(trials.add(linear))
        if "propagated" in wanted and len(features.unlabelled):
            spread = fit_propagated(
                features.train,
                task.train.labels,
                features.unlabelled,
                features.validation,
                task.validation.labels,
                task.classes,
            )
            backbone = features.encoder.backbone
            candidates.append(
                trials.add(linear_candidate(backbone, spread, own, name, "propagated"))
            )
        if "full" in wanted:
            full, found = tune_full(
                features.encoder.backbone, probe, own, name, budget.rates, trials
            )
            candidates.append(full)
            if best_full is None or better(full, best_full) is full:
                best_full, tuned = full, found
    picked = candidates[0]
    for other in candidates[1:]:
        picked = better(picked, other)
    before = logits(picked.network, task.preprocess, task.validation.images)
    degrees = temperature(before, task.validation.labels)
    cool(picked.network, degrees)
    return Finetuned(picked, scratch, candidates, tuned, before, degrees)


def sentence(found: Finetuned) -> str:
    """Return what ships, and what that says about pretraining."""
    rest = ", ".join(f"{one.name} {one.accuracy:.3f}" for one in found.candidates)
    if found.picked.method != "scratch":
        return f"validation accuracy: {rest}; kept {found.picked.name}"
    if len(found.candidates) == 1:
        return f"trained from labels alone, {found.picked.accuracy:.3f} on validation"
    return (
        f"validation accuracy: {rest}; kept scratch: on these images labels alone do as well,"
        " pretraining bought nothing"
    )
