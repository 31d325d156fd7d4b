"""Search for the supervised recipe on validation: augmentation, learning rate and length of
training from labels alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from stages.core.events import Tracker
from stages.core.image.backbones import Backbone
from stages.core.metrics.linear_probe import LinearProbe
from stages.core.training.checkpoint import Resume
from stages.core.transfer.finetune import (
    Candidate,
    Task,
    Tuned,
    better,
    full_candidate,
    scratch_candidate,
)

SCRATCH_RATES = (1.5e-3,)
"""Tried besides the default of :class:`Tuned`."""

ResumeFor = Callable[[str], Resume]


@dataclass
class Trials:
    """Trainings of a search: each can be resumed, all are listed in the report.

    Attributes:
        resume_for: returns the checkpoints of a training by its name.
        track: takes the curves.
        tried: every candidate with the fraction of the plateau it was trained for, in order.
    """

    resume_for: ResumeFor
    track: Tracker
    tried: list[tuple[Candidate, str]] = field(default_factory=list)
    resumes: list[Resume] = field(default_factory=list)

    def scratch(self, start: Backbone, task: Task, note: str = "") -> Candidate:
        """Train from labels alone."""
        resume = self._resume("scratch", task)
        return self._kept(scratch_candidate(start, task, resume, self.track), note)

    def full(self, backbone: Backbone, probe: LinearProbe, task: Task, encoder: str) -> Candidate:
        """Train a pretrained network whole."""
        resume = self._resume(f"full {encoder}", task)
        return self._kept(full_candidate(backbone, probe, task, encoder, resume, self.track), "")

    def add(self, candidate: Candidate) -> Candidate:
        """List a candidate, unless its training has listed it."""
        listed = any(candidate is one for one, _ in self.tried)
        return candidate if listed else self._kept(candidate, "")

    def clear(self) -> None:
        """Delete the checkpoints; the outputs are written."""
        for resume in self.resumes:
            resume.clear()

    def _resume(self, name: str, task: Task) -> Resume:
        self.resumes.append(self.resume_for(f"{name} {task.steps} {task.tuned}"))
        return self.resumes[-1]

    def _kept(self, candidate: Candidate, note: str) -> Candidate:
        self.tried.append((candidate, note))
        return candidate


def tune_scratch(
    start: Backbone, task: Task, doublings: int, trials: Trials
) -> tuple[Candidate, Tuned]:
    """Find how to train from labels alone, and return the best network with its settings.

    Augmentations and rates are compared at half length; the winner is trained at full length and,
    while twice as long is better by more than one standard error of the validation accuracy, at
    twice the length.
    """
    tuned = task.tuned
    fixed = task.settings.scratch_learning_rate
    if not isinstance(fixed, str):
        tuned = replace(tuned, scratch_rate=fixed)
    half = _shortened(replace(task, tuned=tuned))
    tried = [
        trials.scratch(start, half.with_tuned(views=name), "half length") for name in task.views
    ]
    best = _best(tried)
    tuned = replace(tuned, views=list(task.views)[tried.index(best)])
    if isinstance(fixed, str):
        for rate in SCRATCH_RATES:
            other = trials.scratch(
                start, half.with_tuned(views=tuned.views, scratch_rate=rate), "half length"
            )
            if better(other, best) is other:
                best, tuned = other, replace(tuned, scratch_rate=rate)
    shorter, found = best, trials.scratch(start, replace(task, tuned=tuned))
    for doubling in range(1, doublings + 1 if task.settings.steps == "auto" else 1):
        if not _still_rising(shorter, found, len(task.validation)):
            break
        longer = replace(tuned, doublings=doubling)
        shorter, found = found, trials.scratch(start, replace(task, tuned=longer))
        if better(found, shorter) is not found:
            return shorter, tuned
        tuned = longer
    return found, tuned


def _best(candidates: list[Candidate]) -> Candidate:
    found = candidates[0]
    for other in candidates[1:]:
        found = better(found, other)
    return found


def _shortened(task: Task) -> Task:
    """Return the task with half the steps."""
    steps = max(1, task.steps // 2)
    return replace(task, settings=task.settings.model_copy(update={"steps": steps}))


def _still_rising(shorter: Candidate, longer: Candidate, images: int) -> bool:
    """Whether the longer training gained more than one standard error of a validation accuracy."""
    error = (longer.accuracy * (1 - longer.accuracy) / max(1, images)) ** 0.5
    return bool(longer.accuracy - shorter.accuracy > error)
