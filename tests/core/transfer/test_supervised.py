"""Supervised training: probes as heads, frozen batch norm, temperature, batches as a function of
the step.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from stages.core.image.backbones import create_backbone
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.geometric import light
from stages.core.image.views.policy import Policy
from stages.core.metrics.intervals import calibration_error
from stages.core.metrics.linear_probe import LinearProbe
from stages.core.transfer.supervised import (
    FEWEST_STEPS,
    LabelledBatches,
    Supervised,
    cool,
    resolve_steps,
    temperature,
    with_head,
)

PREPROCESS = Preprocess(size=16, channels=1, mean=(0.5,), std=(0.25,))
MOVES = Policy(
    name="p",
    why="w",
    views=(({"op": "crop", "scale": [0.2, 1.0]}, {"op": "flip"}, {"op": "noise"}),),
    local=(),
)


def test_steps_grow_with_the_labels_and_are_never_few() -> None:
    assert resolve_steps(7, 1000, 32) == 7
    assert resolve_steps("auto", 10, 32) == FEWEST_STEPS
    assert resolve_steps("auto", 32_000, 32) == 8000


def test_light_keeps_moves_and_most_of_the_image() -> None:
    kept = light(MOVES)
    assert [op["op"] for op in kept] == ["crop", "flip"]
    assert kept[0]["scale"] == [0.6, 1.0]
    assert MOVES.views[0][0]["scale"] == [0.2, 1.0]


def test_a_network_starts_as_good_as_its_probe() -> None:
    backbone = create_backbone("test_efficientnet", 1, 16, 0).eval()
    rng = np.random.default_rng(0)
    weight, bias = (
        rng.normal(size=(3, backbone.num_features)).astype(np.float32),
        rng.normal(size=3).astype(np.float32),
    )
    network = with_head(backbone, 3, LinearProbe(weight, bias, 1.0, 0.0)).eval()
    images = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = backbone(images).numpy() @ weight.T + bias
        np.testing.assert_allclose(network(images).numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norm_statistics_move_only_without_pretraining(frozen: bool) -> None:
    module = Supervised(
        with_head(create_backbone("test_efficientnet", 1, 16, 0), 2), frozen_norm=frozen
    ).train()
    before = {name: value.clone() for name, value in module.named_buffers() if "running" in name}
    images, labels = (
        torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1]),
    )
    losses = module((images, labels))
    losses["loss"].backward()
    after = {name: value for name, value in module.named_buffers() if "running" in name}
    assert all(torch.equal(before[name], after[name]) for name in before) is frozen
    assert losses["loss"].item() == pytest.approx(np.log(2), abs=1e-5)


def test_batches_are_a_function_of_the_step() -> None:
    images = torch.randint(0, 256, (10, 1, 16, 16), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    batches = [
        LabelledBatches(images, np.arange(10), light(MOVES), PREPROCESS, 4, seed=1)
        for _ in range(2)
    ]
    batches[0](0, slice(0, 4))
    first, second = (batch(1, slice(0, 4)) for batch in batches)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert len({*batches[0].ids(0), *batches[0].ids(1)}) == 8


def test_fewer_images_than_a_batch_make_a_smaller_batch() -> None:
    images = torch.zeros(3, 1, 16, 16, dtype=torch.uint8)
    assert LabelledBatches(images, np.arange(3), (), PREPROCESS, 32, seed=0).size == 3


def test_temperature_minimises_the_loss_and_mends_calibration() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(2000, 4))
    labels = (truth + rng.gumbel(size=truth.shape)).argmax(axis=1)
    sharp = (3.0 * truth).astype(np.float32)
    found = temperature(sharp, labels)
    grid = np.linspace(1, 6, 501)
    losses = [
        -log_softmax(sharp / degrees, axis=1)[np.arange(2000), labels].mean() for degrees in grid
    ]
    assert found == pytest.approx(grid[int(np.argmin(losses))], abs=0.02)
    probabilities = [np.exp(log_softmax(logits, axis=1)) for logits in (sharp, sharp / found)]
    assert (
        calibration_error(probabilities[1], labels)
        < calibration_error(probabilities[0], labels) / 3
    )


def test_cooling_divides_the_logits() -> None:
    backbone = create_backbone("test_efficientnet", 1, 16, 0)
    weight = np.ones((2, backbone.num_features), dtype=np.float32)
    network = with_head(
        backbone, 2, LinearProbe(weight, np.array([0.0, 1.0], dtype=np.float32), 1.0, 0.0)
    ).eval()
    images = torch.ones(1, 1, 16, 16)
    with torch.no_grad():
        before = network(images)
        cool(network, 2.0)
        torch.testing.assert_close(network(images), before / 2)
