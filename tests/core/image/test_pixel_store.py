from pathlib import Path

import numpy as np
import pytest
import torch

from stages.core.errors import DataError
from stages.core.image.pixel_store import INDEX, PixelStore, PixelWriter
from stages.core.random import numpy_generator


def write(directory, images, shard_bytes):
    with PixelWriter(directory, images.shape[1], images.shape[2], shard_bytes) as writer:
        for first in range(0, len(images), 7):
            writer.append(images[first : first + 7])
    return PixelStore.open(directory)


@pytest.mark.parametrize("rows_per_shard", [3, 10, 23, 100])
def test_any_rows_in_any_order_come_back_from_any_sharding(tmp_path, rows_per_shard):
    images = numpy_generator(0, "pixels").integers(0, 256, (23, 3, 8, 8), dtype=np.uint8)
    store = write(tmp_path / "p", images, rows_per_shard * 192)
    assert store.shape == (23, 3, 8, 8)
    rows = np.array([22, 0, 5, 5, 13, 9], np.int64)
    assert (store.gather(rows).numpy() == images[rows]).all()
    assert torch.equal(store.gather(torch.from_numpy(rows)), store.gather(rows))
    assert store.gather(np.array([], np.int64)).shape == (0, 3, 8, 8)


def test_a_store_whose_index_is_of_the_first_format_can_be_read(tmp_path):
    images = numpy_generator(0, "pixels").integers(0, 256, (23, 1, 8, 8), dtype=np.uint8)
    write(tmp_path / "p", images, 10 * 64)
    (tmp_path / "p" / INDEX).write_text(
        '{"format": 1, "rows": 23, "channels": 1, "size": 8, "shard_rows": 10}'
    )
    store = PixelStore.open(tmp_path / "p")
    assert store.ends.tolist() == [10, 20, 23]
    assert (store.array(np.arange(23)) == images).all()


def test_a_missing_or_short_shard_is_named(tmp_path):
    images = np.zeros((5, 1, 8, 8), np.uint8)
    write(tmp_path / "p", images, 128)
    (tmp_path / "p" / "00001.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=r"00001\.bin has 5 bytes instead of 128"):
        PixelStore.open(tmp_path / "p")
    (tmp_path / "p" / "00001.bin").unlink()
    with pytest.raises(DataError, match="is missing"):
        PixelStore.open(tmp_path / "p")


def test_rows_outside_the_store_are_refused(tmp_path):
    store = write(tmp_path / "p", np.zeros((5, 1, 8, 8), np.uint8), 1000)
    for rows in ([5], [-1]):
        with pytest.raises(DataError, match="has 5"):
            store.gather(np.array(rows))


def test_wrong_images_are_refused_and_nothing_appears(tmp_path):
    with pytest.raises(DataError, match="takes uint8"), PixelWriter(tmp_path / "p", 1, 8) as writer:
        writer.append(np.zeros((2, 1, 8, 8), np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="needs Linux's account of mapped pages"
)
def test_released_pixels_leave_memory_and_can_be_read_again(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2000, 1, 32, 32), np.uint8)
    with PixelWriter(tmp_path / "store", channels=1, size=32) as writer:
        writer.append(images)
    store = PixelStore.open(tmp_path / "store")
    rows = np.arange(2000)

    def held() -> int:
        parts = Path("/proc/self/smaps").read_text().split(str(tmp_path))
        return sum(int(part.split("Rss:")[1].split()[0]) for part in parts[1:])

    assert np.array_equal(store.array(rows), images)
    assert held() > 1500
    store.release()
    assert held() < 500
    assert np.array_equal(store.array(rows), images)
