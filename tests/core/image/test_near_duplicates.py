"""Are two images the same picture: against pooling and grids written without matrices, and on
digits.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from stages.core.image.near_duplicates import (
    CROP,
    WORTH_CROPPING,
    agreement,
    chance_likeness,
    likeness,
)
from stages.core.image.pixel_store import PixelStore
from stages.core.image.thumbnails import averaged, thumbnails
from stages.core.random import numpy_generator
from tests.support.images import IMAGES


def stored(images: np.ndarray) -> PixelStore:
    return PixelStore([images], len(images), images.shape, Path())


def enlarged(count: int, scale: int) -> np.ndarray:
    return np.stack(
        [np.kron(image, np.ones((scale, scale), np.uint8)) for image in IMAGES[:count]]
    )[:, None]


def pooled(images: torch.Tensor) -> torch.Tensor:
    """Structure by pooling."""
    smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    fine = (smooth - F.avg_pool2d(F.pad(smooth, (2, 2, 2, 2), mode="replicate"), 5, 1)).flatten(1)
    fine = fine - fine.mean(1, keepdim=True)
    return fine / (fine.norm(dim=1, keepdim=True) + 1e-5)


def cropped(image: torch.Tensor, top: float, left: float) -> torch.Tensor:
    """95 % of an image ``(C, s, s)`` from a corner on, by bilinear sampling."""
    side = image.shape[-1]
    lines = [
        ((torch.arange(side) + 0.5) * CROP - 0.5 + at * (1 - CROP) * side).clamp(0, side - 1)
        for at in (top, left)
    ]
    down, right = torch.meshgrid(*lines, indexing="ij")
    grid = torch.stack([right, down], dim=-1) * 2 / (side - 1) - 1
    return F.grid_sample(image[None], grid[None].float(), align_corners=True)[0]


def test_agreement_against_pooling_and_sampling_each_crop():
    lot = numpy_generator(0, "likeness")
    one = np.repeat(lot.integers(0, 256, (6, 3, 12, 12)), 2, axis=0).astype(np.float32) / 255
    two = one.copy()
    two[1::4] = np.roll(two[1::4], 1, axis=-1)
    two[2:6] += lot.normal(0, 0.1, two[2:6].shape).astype(np.float32)
    two[6:9] = np.stack([cropped(torch.from_numpy(image), 0, 1).numpy() for image in two[6:9]])
    two[11] = lot.random((3, 12, 12))
    found = agreement(one, two)
    for row in range(12):
        mine, other = torch.from_numpy(one[row]), torch.from_numpy(two[row])
        expected = float((pooled(mine[None]) * pooled(other[None])).sum())
        if expected > WORTH_CROPPING:
            for plain, cut in ((mine, other), (other, mine)):
                for top in (0, 0.5, 1):
                    for left in (0, 0.5, 1):
                        expected = max(
                            expected,
                            float(
                                (pooled(plain[None]) * pooled(cropped(cut, top, left)[None])).sum()
                            ),
                        )
        assert abs(found[row] - expected) < 2e-4
    assert (found[6:9] > 0.99).all() and found[11] < WORTH_CROPPING


def test_likeness_is_symmetric_blind_to_brightness_and_sees_another_digit():
    images = enlarged(60, 4)
    store = stored(np.concatenate([images, (images * 0.7 + 20).astype(np.uint8)]))
    rows = np.arange(60)
    assert (likeness(store, rows, rows + 60) > 0.97).all()
    forth, back = likeness(store, rows[:-1], rows[1:]), likeness(store, rows[1:], rows[:-1])
    assert np.allclose(forth, back, atol=1e-5)
    assert np.median(forth) < 0.7


def test_a_flat_image_is_like_nothing():
    flat = stored(np.full((2, 3, 16, 16), 200, np.uint8))
    assert abs(likeness(flat, np.array([0]), np.array([1]))[0]) < 0.1


def test_the_chance_limit_rises_where_images_are_alike_by_nature_and_with_the_wish_to_be_sure():
    noise = numpy_generator(0, "noise").integers(0, 256, (400, 1, 16, 16)).astype(np.uint8)
    limits = []
    for images in (noise, enlarged(400, 2)):
        flat = images.reshape(400, -1).astype(np.float64)
        near = np.argsort(-np.corrcoef(flat), axis=1)[:, 1:11]
        rows = np.arange(0, 400, 2)
        limits.append(
            [chance_likeness(stored(images), rows, near[rows], 400, sure) for sure in (1, 20)]
        )
    assert limits[0][0] < 0.8 < 0.95 < limits[1][0] < 1
    assert all(one < twenty for one, twenty in limits)


def test_averages_against_the_mean_of_blocks_and_of_parts_of_pixels():
    images = numpy_generator(0, "areas").integers(0, 256, (2, 3, 64, 64)).astype(np.uint8)
    blocks = images.reshape(2, 3, 32, 2, 32, 2).mean(axis=(3, 5)) / 255
    assert np.allclose(thumbnails(images), blocks, atol=1e-6)
    line = np.array([[0.0, 3.0, 6.0]], np.float32)
    assert np.allclose(averaged(np.broadcast_to(line, (1, 1, 3, 3)).copy(), 2)[0, 0, 0], [1, 5])
