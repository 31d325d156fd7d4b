"""The search for a supervised recipe: every setting is picked on validation, twice the steps are
kept where they pay.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stages.core.events import Tracker
from stages.core.image.backbones import Backbone, create_backbone
from stages.core.training.checkpoint import Identity, Resume
from stages.core.training.loop import History
from stages.core.transfer.context import Context, Features
from stages.core.transfer.finetune import Candidate, Task, Tuned, scratch_candidate
from stages.core.transfer.methods import full
from stages.finetune.finetune import Finetuned, sentence
from stages.finetune.tuning import Trials, tune_scratch
from tests.core.transfer.test_finetune import task


@pytest.fixture(autouse=True)
def _in_its_own_directory(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def start() -> Backbone:
    return create_backbone("test_efficientnet", 1, 16, 0)


def judged(accuracy: float, loss: float = 1.0, method: str = "scratch") -> Candidate:
    """A candidate with these results, its network left out."""
    return Candidate(method, None, accuracy, loss, "", History())  # type: ignore[arg-type]


class Scripted(Trials):
    """A search whose trainings end as a script says, by settings and steps."""

    def __init__(self, accuracy) -> None:
        super().__init__(lambda name: Resume(Identity({}, {})), Tracker("finetune"))
        self.accuracy, self.asked = accuracy, []

    def scratch(self, start: Backbone, task: Task, note: str = "") -> Candidate:
        self.asked.append((task.tuned, task.steps))
        return self._kept(judged(self.accuracy(task.tuned, task.steps)), note)


def test_views_and_rate_are_those_that_validate_best_at_half_length(start: Backbone) -> None:
    def accuracy(tuned: Tuned, steps: int) -> float:
        return 0.5 + 0.2 * (tuned.views == "gentle") + 0.1 * (tuned.scratch_rate < 2e-3)

    trials = Scripted(accuracy)
    found, tuned = tune_scratch(start, task(fewest=8), doublings=0, trials=trials)
    assert (tuned.views, tuned.scratch_rate, tuned.doublings) == ("gentle", 1.5e-3, 0)
    assert found.accuracy == pytest.approx(0.8)
    assert [note for _, note in trials.tried] == ["half length"] * 3 + [""]
    assert [steps for _, steps in trials.asked] == [4, 4, 4, 8]


@pytest.mark.parametrize(
    ("by_steps", "doublings", "trained"),
    [
        ({4: 0.1, 8: 0.5, 16: 0.9, 32: 0.9}, 1, [8, 16]),  # still rising after two doublings
        ({4: 0.1, 8: 0.5, 16: 0.9, 32: 0.9}, 2, [8, 16, 32]),
        ({4: 0.1, 8: 0.5, 16: 0.4}, 0, [8, 16]),  # longer is worse: the shorter one stays
        ({4: 0.5, 8: 0.5}, 0, [8]),  # the plateau is reached
    ],
)
def test_twice_the_steps_are_tried_while_they_pay_and_kept_where_they_do(
    start: Backbone, by_steps: dict[int, float], doublings: int, trained: list[int]
) -> None:
    trials = Scripted(lambda tuned, steps: by_steps[steps])
    limit = max(1, len(trained) - 1)
    found, tuned = tune_scratch(start, task(fewest=8), limit, trials)
    assert [steps for _, steps in trials.asked[3:]] == trained
    assert tuned.doublings == doublings
    assert found.accuracy == max(by_steps[steps] for steps in trained)


def test_settings_that_are_fixed_are_not_searched(start: Backbone) -> None:
    fixed = task(steps=8)
    own = fixed.settings.model_copy(update={"scratch_learning_rate": 0.03})
    trials = Scripted(lambda tuned, steps: steps / 100)
    _, tuned = tune_scratch(start, replace(fixed, settings=own), 2, trials)
    assert tuned.scratch_rate == 0.03
    assert tuned.doublings == 0
    assert [steps for _, steps in trials.asked] == [4, 4, 8]


def test_a_pretrained_network_is_trained_at_every_rate_and_the_best_is_kept(
    start: Backbone,
) -> None:
    own = task(fewest=2)
    features = [
        np.random.default_rng(0).normal(size=(len(part), start.num_features)).astype(np.float32)
        for part in (own.train, own.validation)
    ]
    rates = (1e-5, 1e-3, 3e-1)
    with Tracker("finetune") as track:
        trials = Trials(lambda name: Resume(Identity({"training": name}, {})), track)
        control = scratch_candidate(start, own)
        given = Features(*features, features[0][:0])
        context = Context(own, control, "pretrained", start, given, rates, trials.full)
        best = full.fit(context)
    tried = [candidate for candidate, _ in trials.tried]
    assert len(tried) == 3
    assert best.accuracy == max(one.accuracy for one in tried)
    assert best.rate == rates[tried.index(best)]
    assert f"at {best.rate:g}" in best.detail
    assert trials.add(best) is best and len(trials.tried) == 3


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        (
            [("scratch", 0.9), ("linear", 0.8)],
            "labels alone do as well, pretraining bought nothing",
        ),
        ([("scratch", 0.7), ("linear", 0.8)], "scratch 0.700, linear 0.800; kept linear"),
        ([("scratch", 0.7)], "trained from labels alone, 0.700 on validation"),
    ],
)
def test_the_last_line_says_what_ships(candidates: list[tuple[str, float]], said: str) -> None:
    made = [judged(accuracy, method=method) for method, accuracy in candidates]
    best = max(made, key=lambda one: one.accuracy)
    found = Finetuned(best, made[0], made, Tuned(), np.zeros((1, 2), dtype=np.float32), 1.0)
    assert said in sentence(found)
