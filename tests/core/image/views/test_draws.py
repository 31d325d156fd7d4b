"""What is drawn is distributed as what torchvision draws (Kolmogorov–Smirnov, with a fixed seed so
that no run is unlucky).
"""

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import (
    ColorJitter,
    RandomAffine,
    RandomErasing,
    RandomResizedCrop,
    RandomRotation,
)

from stages.core.image.views.ops import affine, blur, crop, erase, flip, grey, jitter, rotation

N, SIZE = 3000, (40, 32)
IMAGE = torch.zeros(3, *SIZE)


def draw(op, **settings):
    return op.sample(N, SIZE, op.Settings(**settings), torch.Generator().manual_seed(11))


@pytest.fixture
def torchvision_seed():
    """torchvision draws from the global generator: lend it a seed and put its state back."""
    state = torch.get_rng_state()
    torch.manual_seed(2)
    yield
    torch.set_rng_state(state)


def alike(ours, theirs):
    return ks_2samp(ours.double().numpy(), torch.as_tensor(theirs).double().numpy()).pvalue > 0.01


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.3, 0.6), (0.9, 1.0)])
def test_crop_boxes(torchvision_seed, scale):
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(IMAGE, list(scale), [3 / 4, 4 / 3]) for _ in range(N)]
    )
    ours = draw(crop, scale=scale)["box"]
    for column in range(4):
        assert alike(ours[:, column], theirs[:, column]), column


def test_jitter_factors_and_order(torchvision_seed):
    theirs = [
        ColorJitter.get_params([0.6, 1.4], [0.7, 1.3], [0.8, 1.2], [-0.1, 0.1]) for _ in range(N)
    ]
    ours = draw(jitter, probability=1.0, brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1)
    for column, name in enumerate(["brightness", "contrast", "saturation", "hue"], start=1):
        assert alike(ours[name], [float(row[column]) for row in theirs]), name
    assert alike(ours["order"][:, 0], [int(row[0][0]) for row in theirs])
    assert alike(
        ours["order"] @ torch.tensor([64, 16, 4, 1]),
        [int(row[0] @ torch.tensor([64, 16, 4, 1])) for row in theirs],
    )


def test_turns_shifts_and_shears(torchvision_seed):
    theirs = [
        RandomAffine.get_params([-30, 30], [0.2, 0.1], [0.8, 1.3], [-10, 10], [SIZE[1], SIZE[0]])
        for _ in range(N)
    ]
    ours = draw(affine, degrees=30.0, translate=(0.2, 0.1), scale=(0.8, 1.3), shear=10.0)
    assert alike(ours["angle"], [row[0] for row in theirs])
    assert alike(ours["shift"][:, 0], [row[1][0] for row in theirs])
    assert alike(ours["shift"][:, 1], [row[1][1] for row in theirs])
    assert alike(ours["scale"], [row[2] for row in theirs])
    assert alike(ours["shear"], [row[3][0] for row in theirs])
    assert alike(
        draw(rotation, degrees=25.0)["angle"],
        [RandomRotation.get_params([-25, 25]) for _ in range(N)],
    )


def test_erased_boxes(torchvision_seed):
    theirs = torch.tensor(
        [RandomErasing.get_params(IMAGE, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(N)]
    )
    ours = draw(erase, probability=1.0)["box"]
    for column in range(4):
        assert alike(ours[:, column], theirs[:, column]), column


def test_blur_width_and_how_often():
    assert alike(
        draw(blur)["sigma"], torch.rand(N, generator=torch.Generator().manual_seed(1)) * 1.9 + 0.1
    )
    for op, share in ((flip, 0.5), (grey, 0.2), (jitter, 0.8), (blur, 0.3)):
        assert abs(draw(op, probability=share)["on"].double().mean() - share) < 0.03, op.__name__


def test_every_image_has_its_own_draw_and_the_address_decides_it():
    first, again = draw(crop)["box"], draw(crop)["box"]
    assert torch.equal(first, again)
    assert len(first.unique(dim=0)) > N / 4
