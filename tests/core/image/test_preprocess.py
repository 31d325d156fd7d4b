import numpy as np
import pytest
import torch

from stages.core.errors import DataError
from stages.core.image.decode import STORE_INTERPOLATION
from stages.core.image.preprocess import Preprocess


class Store:
    def __init__(self, images):
        self.images = images

    @property
    def shape(self):
        return tuple(self.images.shape)

    def gather(self, rows):
        return self.images[torch.as_tensor(rows)]


@pytest.fixture
def images():
    return torch.randint(
        0, 256, (5000, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def test_mean_and_std_are_those_of_the_chosen_rows(images):
    rows = np.arange(0, 5000, 2)
    measured = Preprocess.from_pixels(Store(images), rows)
    chosen = images[rows].double() / 255
    np.testing.assert_allclose(measured.mean, chosen.mean(dim=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(measured.std, chosen.std(dim=(0, 2, 3), correction=0), rtol=1e-5)
    assert measured.interpolation == STORE_INTERPOLATION
    normalised = measured.apply(images[rows])
    assert normalised.dtype == torch.float32
    assert normalised.mean().abs() < 1e-4
    assert abs(normalised.std() - 1) < 1e-3


def test_a_channel_of_one_value_stays_finite():
    flat = Preprocess.from_pixels(
        Store(torch.full((3, 1, 4, 4), 7, dtype=torch.uint8)), np.arange(3)
    )
    assert torch.isfinite(flat.apply(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))).all()


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(2, 3, 8, 8),
        torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
        torch.zeros(2, 3, 8, 9, dtype=torch.uint8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
    ],
)
def test_an_image_of_another_kind_is_refused_and_not_resized(wrong):
    preprocess = Preprocess(size=8, channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(DataError, match=r"uint8 \(N, 3, 8, 8\)"):
        preprocess.apply(wrong)


def test_it_comes_back_from_disk_as_it_was(tmp_path):
    preprocess = Preprocess(size=8, channels=1, mean=(0.25,), std=(0.125,))
    preprocess.write(tmp_path)
    assert Preprocess.read(tmp_path) == preprocess
    (tmp_path / "preprocess.json").write_text(
        '{"size": 8, "channels": 1, "mean": [0.2], "std": [0.0]}'
    )
    with pytest.raises(DataError, match="std must be positive"):
        Preprocess.read(tmp_path)


def test_no_image_to_measure_is_one_clear_error(images):
    with pytest.raises(DataError, match="curate kept none"):
        Preprocess.from_pixels(Store(images), np.array([], dtype=np.int64))
