"""Tasks and candidates: how many steps a training gets, and which one is short of its plateau."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.core.image.backbones import create_backbone
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.geometric import supervised_views
from stages.core.image.views.policy import Policy
from stages.core.transfer.finetune import (
    Examples,
    Task,
    Tuned,
    fit_probe,
    full_candidate,
    linear_candidate,
    scratch_candidate,
)
from tests.support.transfer import MOVES, small_params


def examples(count: int, seed: int) -> Examples:
    """Bright and dark images of noise, two classes in turn."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = draw.integers(0, 128, (count, 1, 16, 16)) + 127 * labels[:, None, None, None]
    return Examples(torch.from_numpy(pixels.astype(np.uint8)), labels)


def task(steps: int | str = "auto", fewest: int = 6, passes: int = 2) -> Task:
    """Two classes, 12 images to learn from."""
    policy = Policy(name="moves", why="a test", views=(MOVES,), local=())
    own = small_params(finetune__steps=steps).finetune
    preprocess = Preprocess(size=16, channels=1, mean=(0.5,), std=(0.25,))
    return Task(
        examples(12, 0),
        examples(8, 1),
        2,
        preprocess,
        supervised_views(policy),
        own,
        passes,
        fewest,
        seed=0,
    )


def test_steps_are_the_plateau_unless_they_are_set() -> None:
    assert task().batch_size == 12
    assert (task().steps, task().plateau) == (6, 6)
    assert (task(passes=30).steps, task(passes=30).plateau) == (30, 30)
    assert task().with_tuned(doublings=2).plateau == 24
    hobbled = task(steps=100, fewest=600)
    assert (hobbled.steps, hobbled.plateau) == (100, 600)


def test_a_training_of_fewer_steps_than_its_plateau_is_marked_and_says_where_that_is() -> None:
    start = create_backbone("test_efficientnet", 1, 16, 0)
    whole, hobbled = scratch_candidate(start, task()), scratch_candidate(start, task(steps=2))
    assert not whole.undertrained
    assert "plateau" not in whole.detail
    assert hobbled.undertrained
    assert hobbled.detail == "2 steps at 0.004, views crop, its plateau is at 6"


def test_every_candidate_carries_the_name_of_its_encoder_and_leaves_the_encoder_alone() -> None:
    start, own = create_backbone("test_efficientnet", 1, 16, 0), task()
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    drawn = np.random.default_rng(2)
    features = [
        drawn.normal(size=(len(part), start.num_features)).astype(np.float32)
        for part in (own.train, own.validation)
    ]
    probe = fit_probe(*features, own)
    found = (
        linear_candidate(start, probe, own, "pretrained"),
        full_candidate(start, probe, own, "distilled"),
        scratch_candidate(start, own),
    )
    assert [one.name for one in found] == [
        "linear from pretrained",
        "full from distilled",
        "scratch",
    ]
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.state_dict().items())


def test_pretrained_weights_and_random_ones_have_rates_of_their_own() -> None:
    start = create_backbone("test_efficientnet", 1, 16, 0)
    own = replace(task(), tuned=Tuned(scratch_rate=0.5, rate=0.25, views="gentle"))
    zeros = np.zeros((2, start.num_features), dtype=np.float32)
    probe = replace(
        fit_probe(
            np.eye(12, start.num_features, dtype=np.float32),
            np.eye(8, start.num_features, dtype=np.float32),
            own,
        ),
        weight=zeros,
    )
    assert "at 0.5, views gentle" in scratch_candidate(start, own).detail
    assert "at 0.25, views gentle" in full_candidate(start, probe, own).detail


@pytest.mark.parametrize(
    ("ops", "mirrored", "turned"),
    [
        (({"op": "crop"}, {"op": "flip"}), True, 15.0),
        (({"op": "crop"},), False, 15.0),
        (({"op": "affine", "degrees": 180.0}, {"op": "flip"}), True, 180.0),
    ],
)
def test_supervised_views_mirror_and_turn_where_the_policy_does(
    ops: tuple[dict[str, object], ...], mirrored: bool, turned: float
) -> None:
    policy = Policy(name="p", why="w", views=(ops,), local=())
    views = supervised_views(policy)
    assert list(views) == ["crop", "gentle"]
    for name, made in views.items():
        assert any(op["op"] == "flip" for op in made) is mirrored, name
        assert any(op["op"] == "jitter" for op in made)
    assert next(op for op in views["gentle"] if op["op"] == "affine")["degrees"] == turned
    assert any(op["op"] == "affine" for op in views["crop"]) is (turned == 180.0)
