"""Supervised training: probes as heads, batch norm that adapts, temperature, steps and batches
sized to the labels.
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
    MOST_IMAGES,
    SMOOTHING,
    LabelledBatches,
    Supervised,
    cool,
    resolve_batch,
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
    assert resolve_steps(10, 10, passes=60, fewest=600) == 600
    assert resolve_steps(320, 32, passes=60, fewest=600) == 600
    assert resolve_steps(640, 32, passes=60, fewest=600) == 1200
    assert resolve_steps(6400, 64, passes=60, fewest=600) == MOST_IMAGES // 64
    assert resolve_steps(100_000, 128, passes=60, fewest=600) == 4 * 100_000 // 128


def test_a_batch_grows_with_the_labels_and_never_holds_more_than_there_are() -> None:
    assert [resolve_batch("auto", images) for images in (5, 338, 2000, 50_000)] == [5, 32, 64, 128]
    assert resolve_batch(48, 1000) == 48
    assert resolve_batch(48, 10) == 10


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


def test_batch_norm_statistics_adapt_to_the_labelled_images() -> None:
    module = Supervised(with_head(create_backbone("test_efficientnet", 1, 16, 0), 2)).train()
    before = {name: value.clone() for name, value in module.named_buffers() if "running" in name}
    images, labels = (
        torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1]),
    )
    module((images, labels, torch.ones(2)))["loss"].backward()
    after = {name: value for name, value in module.named_buffers() if "running" in name}
    assert before
    assert not any(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("weights", [[1.0] * 5, [1.0, 0.25, 0.0, 0.5, 1.0]])
def test_the_loss_is_weighted_cross_entropy_with_smoothed_labels(weights: list[float]) -> None:
    network = with_head(create_backbone("test_efficientnet", 1, 16, 0), 3).eval()
    with torch.no_grad():
        network.head.weight.normal_(generator=torch.Generator().manual_seed(1))
        images = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        labels = torch.tensor([0, 1, 2, 2, 0])
        logs = log_softmax(network(images).double().numpy(), axis=1)
        wanted = np.full((5, 3), SMOOTHING / 3) + (1 - SMOOTHING) * np.eye(3)[labels]
        found = Supervised(network)((images, labels, torch.tensor(weights)))
    mean = np.average(-(wanted * logs).sum(axis=1), weights=weights)
    assert found["loss"].item() == pytest.approx(mean, abs=1e-5)
    assert found["accuracy"].item() == pytest.approx((logs.argmax(axis=1) == labels.numpy()).mean())


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


def test_temperature_minimises_the_loss_and_improves_calibration() -> None:
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
