"""From encoders and labels to a classifier: every candidate is trained, the best on validation is
kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce

from stages.core import plugins
from stages.core.budget import Budget
from stages.core.image.backbones import Backbone
from stages.core.metrics.representation import Array
from stages.core.transfer.context import METHODS, Context, Features
from stages.core.transfer.finetune import Candidate, Task, Tuned, better, logits
from stages.core.transfer.supervised import cool, temperature
from stages.finetune.tuning import Trials, tune_scratch


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
    encoders: Mapping[str, tuple[Backbone, Features]],
    start: Backbone,
    budget: Budget,
    trials: Trials,
) -> Finetuned:
    """Train every candidate of ``finetune.candidates`` and keep the best on validation, its
    confidence calibrated there.

    Args:
        encoders: pretrained ones with their features, by name; none leaves labels alone.
        start: untrained network for training from labels alone; it fixes the augmentation and the
            length for all.
    """
    scratch, tuned = tune_scratch(start, task, budget.doublings, trials)
    fixed = task.settings.learning_rate
    rates = budget.rates if isinstance(fixed, str) else (fixed,)
    methods = {name: plugins.load(METHODS, name) for name in task.settings.candidates}
    alone = [name for name, method in methods.items() if not method.ENCODER]
    candidates = [scratch] if alone or not encoders else []
    for name, (backbone, features) in encoders.items():
        context = Context(
            replace(task, tuned=tuned), scratch, name, backbone, features, rates, trials.full
        )
        for method in (method for method in methods.values() if method.ENCODER):
            found = method.fit(context)
            if found is not None:
                candidates.append(trials.add(found))
    picked = reduce(better, candidates)
    trained = [one for one in candidates if one.method == "full"]
    if trained:
        tuned = replace(tuned, rate=reduce(better, trained).rate)
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
