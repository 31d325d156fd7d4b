"""Corruptions: stored images in, stored images out, worse with every step."""

from __future__ import annotations

import pytest
import torch

from stages.evaluate.corruptions import CORRUPTIONS, SEVERITIES


def images(channels: int, size: int) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, channels, size, size), generator=drawn).to(torch.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 64)])
def test_each_step_moves_the_pixels_further_and_repeats_itself(
    name: str, channels: int, size: int
) -> None:
    clean, corrupt = images(channels, size), CORRUPTIONS[name]
    moved = []
    for severity in SEVERITIES:
        worse = corrupt(clean, severity, 3)
        assert worse.dtype == torch.uint8 and worse.shape == clean.shape
        assert torch.equal(worse, corrupt(clean, severity, 3))
        moved.append((worse.float() - clean.float()).abs().mean().item())
    assert 0 < moved[0] < moved[1] < moved[2]


def test_an_even_image_has_nothing_to_blur_and_no_contrast_to_lose() -> None:
    even = torch.full((2, 3, 16, 16), 90, dtype=torch.uint8)
    assert torch.equal(CORRUPTIONS["blur"](even, 3, 0), even)
    assert torch.equal(CORRUPTIONS["contrast"](even, 3, 0), even)


def test_every_image_gets_its_own_noise() -> None:
    even = torch.full((2, 1, 16, 16), 128, dtype=torch.uint8)
    noisy = CORRUPTIONS["noise"](even, 1, 0)
    assert not torch.equal(noisy[0], noisy[1])
