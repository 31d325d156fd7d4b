"""``synthetic``: every factor shows in the picture, every switch makes exactly what it promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.image.decode import Unreadable, decode
from stages.ingest.readers.synthetic import Settings, factors, load, parse, plan
from stages.ingest.rendering import SHAPES, render

SHOWN = {
    "hue": 0.2,
    "texture": 0.5,
    "scale": 0.5,
    "x": 0.5,
    "y": 0.5,
    "angle": 0.3,
    "background": 0.4,
    "tint": 0.6,
}
SHOWN |= {"shape": SHAPES.index("square"), "domain": 0}
FAULTS = {
    "duplicates": "copy",
    "near_duplicates": "near-copy",
    "label_noise": "mislabelled",
    "corruption": "corrupt",
    "poison": "poisoned",
    "spectral_poison": "spectral",
}


@pytest.mark.parametrize("name", SHOWN)
def test_each_factor_alone_changes_the_picture(name):
    other = (SHOWN[name] + 1) % 3 if name in ("shape", "domain") else (SHOWN[name] + 0.45) % 1
    one, two = (np.asarray(render(shown, 0, 0), int) for shown in (SHOWN, SHOWN | {name: other}))
    assert np.abs(one - two).max() > 10
    assert (one == np.asarray(render(SHOWN, 0, 0))).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 300), st.integers(0, 9), st.lists(st.integers(0, 16), min_size=6, max_size=6))
def test_every_fault_is_there_as_often_as_asked_and_copies_are_of_sound_images(
    images, seed, shares
):
    asked = {switch: share / 100 for switch, share in zip(FAULTS, shares, strict=True)}
    faults, originals = plan(Settings(images=images, seed=seed, **asked))
    for switch, fault in FAULTS.items():
        assert abs(faults.count(fault) - asked[switch] * images) <= 0.5 + 1e-9
    for number, (fault, original) in enumerate(zip(faults, originals, strict=True)):
        assert original == number or (
            "copy" in fault and original < number and not faults[original]
        )


def test_a_corrupt_image_cannot_be_read_and_the_others_can():
    for fault in ("", "poisoned", "spectral"):
        assert decode(load((parse("images=5"), 3, fault, 3)), 3, 10**6).shape == (32, 32, 3)
    with pytest.raises(Unreadable):
        decode(load((parse("images=5"), 3, "corrupt", 3)), 3, 10**6)


def test_imbalance_drift_and_domains_are_in_the_factors():
    drawn = [factors(parse("images=2000,imbalance=16,domains=4"), number) for number in range(2000)]
    counts = np.bincount([int(shown["shape"]) for shown in drawn], minlength=5)
    expected = 2000 * 2.0 ** -np.arange(5) / (2.0 ** -np.arange(5)).sum()
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    assert (
        np.abs(np.bincount([int(shown["domain"]) for shown in drawn]) - 500) < 5 * 500**0.5
    ).all()
    for switch, least, most in (("false", -0.1, 0.1), ("true", 0.6, 0.9)):
        brightness = [
            factors(parse(f"images=2000,drift={switch}"), number)["background"]
            for number in range(2000)
        ]
        assert least < np.corrcoef(brightness, np.arange(2000))[0, 1] < most
