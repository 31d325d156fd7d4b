"""Symmetry without labels: mirror images are allowed where a network cannot tell them from the
images themselves.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor

from stages.augment import symmetry
from stages.augment.symmetry import FEWEST, Symmetry, measure_symmetry

LENGTHS = ((1, 1, 1, 1), (1, 0.3, 0.3, 0.3), (1, 1, 0.3, 0.3), (0.3, 0.3, 0.3, 1), (0.3,) * 4)


def stacked(images: list[np.ndarray]) -> Tensor:
    """Images (H, W, 3) as a batch (N, 3, H, W)."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


def photographs(side: int = 32) -> Tensor:
    """Patches of the two photographs that scikit-learn brings, a temple and a flower, side by
    side.
    """
    return stacked(
        [
            photo[top : top + side, left : left + side]
            for photo in load_sample_images().images
            for top in range(0, photo.shape[0] - side + 1, side)
            for left in range(0, photo.shape[1] - side + 1, side)
        ]
    )


def hand_signs(count: int = 240, side: int = 48) -> Tensor:
    """Right hands that show one of five signs, tilted and lit at random, in colour."""
    draw, images = np.random.default_rng(0), []
    for number in range(count):
        back = tuple(int(value) for value in draw.integers(60, 200, 3))
        skin = tuple(int(value) for value in draw.integers((150, 90, 60), (240, 180, 150)))
        hand = Image.new("RGB", (side, side), back)
        pen, palm = ImageDraw.Draw(hand), (16, 22, 34, 42)
        pen.ellipse(palm, fill=skin)
        for finger, length in enumerate(LENGTHS[number % len(LENGTHS)]):
            root = 18 + 5 * finger
            pen.line((root, 26, root, 24 - 18 * length), fill=skin, width=4)
        pen.line((18, 34, 7, 26), fill=skin, width=5)  # the thumb, always on the same side
        tilted = hand.rotate(float(draw.uniform(-15, 15)), fillcolor=back)
        images.append(np.asarray(tilted))
    return stacked(images)


def written_digits() -> Tensor:
    """The embedded digits at 16 px, in grey."""
    pixels = (load_digits().images[:400] * 15).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    return torch.from_numpy(pixels[:, None])


@pytest.fixture
def mirror_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the question about turned images out: each takes seconds."""
    monkeypatch.delitem(symmetry.TRANSFORMS, "turned")


@pytest.mark.usefixtures("mirror_only")
@pytest.mark.parametrize(
    ("images", "flips"),
    [(photographs, True), (hand_signs, False), (written_digits, False)],
    ids=["photographs", "hand signs", "digits"],
)
def test_flips_are_on_for_photographs_and_off_for_digits_and_hand_signs(images, flips) -> None:
    found = measure_symmetry(images(), seed=0)
    assert found.flips is flips, found
    assert f"flips are {'on' if flips else 'off'}" in found.sentence()


@pytest.mark.usefixtures("mirror_only")
def test_the_answer_is_a_function_of_images_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetry, "STEPS", 8)
    images = written_digits()[:FEWEST]
    torch.manual_seed(1)
    first, state = measure_symmetry(images, seed=3), torch.get_rng_state()
    torch.manual_seed(2)
    assert measure_symmetry(images, seed=3) == first
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"


def test_of_few_images_nothing_is_concluded_and_nothing_is_flipped() -> None:
    found = measure_symmetry(written_digits()[: FEWEST - 1], seed=0)
    assert found == Symmetry(1.0, 1.0)
    assert not found.flips
    assert not found.turns


def test_turns_are_mentioned_where_they_change_nothing() -> None:
    assert Symmetry(0.5, 0.52).sentence().endswith("flips are on, turns too")
    assert Symmetry(0.5, 0.99).sentence().endswith("flips are on")
    assert Symmetry(0.55556, 1.0).as_dict() == {"mirrored": 0.5556, "turned": 1.0}
