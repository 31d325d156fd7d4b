import numpy as np
import pytest

from stages.core.errors import DataError
from stages.core.image.jpeg_store import OFFSETS, JpegStore, JpegWriter
from stages.core.image.pixel_store import PixelStore
from stages.core.random import numpy_generator


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def written(tmp_path, request):
    """Smooth pictures, 90 of them, 40 to a shard."""
    corners = (
        numpy_generator(0, "jpegs").integers(0, 256, (90, request.param, 2, 2)).astype(np.float64)
    )
    across = np.linspace(0, 1, 32)
    rows = (
        corners[:, :, :1] * (1 - across[:, None, None]).transpose(1, 0, 2)
        + corners[:, :, 1:] * across[None, :, None]
    )
    images = (rows[..., :1] * (1 - across) + rows[..., 1:] * across).astype(np.uint8)
    with JpegWriter(tmp_path / "p", request.param, 32, 40 * request.param * 1024) as writer:
        for first in range(0, 90, 7):
            writer.append(images[first : first + 7])
    return tmp_path / "p", images


def test_any_rows_come_back_nearly_as_they_were_whoever_decodes_them(written):
    directory, images = written
    store = PixelStore.open(directory)
    assert isinstance(store, JpegStore)
    assert store.shape == images.shape
    assert len(store.shards) == 3
    rows = np.concatenate([np.array([89, 0, 5, 5, 39, 40]), np.arange(90)])
    found = []
    for store.workers in (1, 2, 5):
        found.append(store.gather(rows).numpy())
        assert (found[-1] == found[0]).all()
    assert np.abs(found[0].astype(int) - images[rows]).max() <= 6
    assert sum(path.stat().st_size for path in directory.glob("*.jpgs")) < images.nbytes
    with pytest.raises(DataError, match="rows 3 to 90 asked of a pixel store that has 90"):
        store.gather(np.array([3, 90]))


def test_the_same_images_give_the_same_bytes(written):
    directory, images = written
    with JpegWriter(
        directory.parent / "again", images.shape[1], 32, 40 * images.shape[1] * 1024
    ) as writer:
        writer.append(images)
    for file in directory.iterdir():
        assert file.read_bytes() == (directory.parent / "again" / file.name).read_bytes(), file.name


def test_a_shard_that_is_missing_short_or_damaged_is_one_clear_error(written):
    directory, _ = written
    shard = directory / "00001.jpgs"
    whole = shard.read_bytes()
    shard.write_bytes(b"\0" * len(whole))
    with pytest.raises(DataError, match=r"00001\.jpgs: the image of row 45 is damaged"):
        PixelStore.open(directory).gather(np.array([45]))
    shard.write_bytes(whole[:-1])
    with pytest.raises(
        DataError, match=rf"00001\.jpgs has {len(whole) - 1:,} bytes instead of {len(whole):,}"
    ):
        PixelStore.open(directory)
    shard.unlink()
    with pytest.raises(DataError, match=r"00001\.jpgs is missing"):
        PixelStore.open(directory)
    shard.write_bytes(whole)
    (directory / OFFSETS).unlink()
    with pytest.raises(DataError, match="does not list 90 images"):
        PixelStore.open(directory)
