"""Each operation against torchvision's own, image by image, on the numbers drawn; tolerances stated
per operation.
"""

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torchvision.transforms.v2 import InterpolationMode

from stages.core.image.views.ops import (
    affine,
    blur,
    crop,
    erase,
    flip,
    grey,
    jitter,
    noise,
    posterise,
    rotation,
    solarise,
)
from stages.core.image.views.warp import Warp

N, SIZE = 12, (20, 20)
BILINEAR = InterpolationMode.BILINEAR
EXACT, ROUNDING, RESAMPLING = 0.0, 2e-6, 2e-5


def images(channels=3):
    return torch.rand(N, channels, *SIZE, generator=torch.Generator().manual_seed(3))


def draw(op, n=N, **settings):
    return op.sample(n, SIZE, op.Settings(**settings), torch.Generator().manual_seed(5))


def same(ours, theirs, tolerance):
    torch.testing.assert_close(ours, torch.stack(list(theirs)), atol=tolerance, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_crop(channels):
    before, drawn = images(channels), draw(crop, scale=(0.1, 1.0))
    theirs = [
        reference.resized_crop(x, *map(int, box), list(SIZE), BILINEAR)
        for x, box in zip(before, drawn["box"], strict=True)
    ]
    same(crop.apply(before, drawn), theirs, RESAMPLING)


def test_flips():
    for vertical, theirs in ((False, reference.hflip), (True, reference.vflip)):
        before, drawn = images(), draw(flip, vertical=vertical)
        expected = [theirs(x) if on else x for x, on in zip(before, drawn["on"], strict=True)]
        same(flip.apply(before, drawn), expected, ROUNDING)


@pytest.mark.parametrize("channels", [1, 3])
def test_rotation(channels):
    before, drawn = images(channels), draw(rotation, degrees=40.0)
    theirs = [
        reference.rotate(x, float(a), BILINEAR) for x, a in zip(before, drawn["angle"], strict=True)
    ]
    same(rotation.apply(before, drawn), theirs, RESAMPLING)


def test_affine():
    before, drawn = (
        images(),
        draw(affine, degrees=30.0, translate=(0.2, 0.1), scale=(0.7, 1.4), shear=20.0),
    )
    columns = zip(
        before, drawn["angle"], drawn["shift"], drawn["scale"], drawn["shear"], strict=True
    )
    theirs = [
        reference.affine(
            x, float(a), [int(t) for t in move], float(s), [float(shear), 0.0], BILINEAR
        )
        for x, a, move, s, shear in columns
    ]
    same(affine.apply(before, drawn), theirs, RESAMPLING)


def test_turning_and_cropping_is_one_resampling_close_to_two():
    smooth = reference.gaussian_blur(images(), [7, 7], [2.0, 2.0])
    turned, boxed = draw(rotation, degrees=30.0), draw(crop, scale=(0.5, 1.0))
    ours = crop.place(rotation.place(Warp.of(smooth), turned), boxed).apply(smooth, SIZE)
    theirs = crop.apply(rotation.apply(smooth, turned), boxed)
    assert (ours - theirs).abs().mean() < 0.01
    assert (ours - smooth).abs().mean() > 0.05


def test_colour_jitter_in_each_images_own_order():
    before, drawn = images(), draw(jitter, probability=0.9, hue=0.3)
    steps = {
        0: reference.adjust_brightness,
        1: reference.adjust_contrast,
        2: reference.adjust_saturation,
        3: reference.adjust_hue,
    }
    names = ["brightness", "contrast", "saturation", "hue"]
    theirs = []
    for number, x in enumerate(before):
        for kind in drawn["order"][number].tolist() if drawn["on"][number] else []:
            x = steps[kind](x, float(drawn[names[kind]][number]))
        theirs.append(x)
    assert len({tuple(order) for order in drawn["order"].tolist()}) > 4
    same(jitter.apply(before, drawn), theirs, 5e-6)


def test_colour_jitter_of_grey_images_is_brightness_and_contrast():
    before, drawn = images(1), draw(jitter, probability=1.0)
    theirs = []
    for number, x in enumerate(before):
        for kind in drawn["order"][number].tolist():
            if kind == 0:
                x = reference.adjust_brightness(x, float(drawn["brightness"][number]))
            if kind == 1:
                x = reference.adjust_contrast(x, float(drawn["contrast"][number]))
        theirs.append(x)
    same(jitter.apply(before, drawn), theirs, ROUNDING)


def test_grey():
    before, drawn = images(), draw(grey, probability=0.5)
    theirs = [
        reference.rgb_to_grayscale(x, 3) if on else x
        for x, on in zip(before, drawn["on"], strict=True)
    ]
    same(grey.apply(before, drawn), theirs, ROUNDING)


def test_blur():
    before, drawn = images(), draw(blur, probability=0.7)
    taps = [blur.kernel_size(SIZE[0])] * 2
    theirs = [
        reference.gaussian_blur(x, taps, [float(s)] * 2) if on else x
        for x, s, on in zip(before, drawn["sigma"], drawn["on"], strict=True)
    ]
    same(blur.apply(before, drawn), theirs, ROUNDING)


def test_solarise():
    before, drawn = images(), draw(solarise, probability=0.5, threshold=0.6)
    theirs = [
        reference.solarize(x, 0.6) if on else x for x, on in zip(before, drawn["on"], strict=True)
    ]
    same(solarise.apply(before, drawn), theirs, EXACT)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_posterise(bits):
    before, drawn = images(), draw(posterise, probability=0.5, bits=bits)
    theirs = [
        reference.posterize(x, bits) if on else x for x, on in zip(before, drawn["on"], strict=True)
    ]
    same(posterise.apply(before, drawn), theirs, ROUNDING)


def test_erase():
    before, drawn = images(), draw(erase, probability=0.7, value=0.25)
    theirs = [
        reference.erase(x, *map(int, box), torch.full((3, int(box[2]), int(box[3])), 0.25))
        for x, box in zip(before, drawn["box"], strict=True)
    ]
    same(erase.apply(before, drawn), theirs, EXACT)
    assert (drawn["box"][~drawn["on"], 2:] == 0).all()


def test_noise_is_standard_normal_independent_between_images_and_clipped():
    keys = torch.arange(64)
    drawn = noise.normal(keys, 3 * 32 * 32).double()
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01
    assert abs((drawn**4).mean() - 3) < 0.1
    correlation = torch.corrcoef(drawn)
    assert (correlation - torch.eye(64)).abs().max() < 0.1
    lagged = torch.corrcoef(torch.stack([drawn[:, :-1].flatten(), drawn[:, 1:].flatten()]))[0, 1]
    assert abs(lagged) < 0.01
    assert torch.equal(noise.normal(keys[5:6], 7), noise.normal(keys, 7)[5:6])
    noisy = noise.apply(images(), draw(noise, probability=1.0, sigma=(0.5, 0.5)))
    assert noisy.min() == 0
    assert noisy.max() == 1


def test_an_operation_that_is_off_leaves_the_image_alone():
    before = images()
    for op in (jitter, grey, blur, solarise, posterise, erase, noise):
        assert torch.equal(op.apply(before, draw(op, probability=0.0)), before), op.__name__
    for op in (crop, flip, rotation, affine):
        torch.testing.assert_close(
            op.apply(before, draw(op, probability=0.0)), before, atol=ROUNDING, rtol=0
        )
