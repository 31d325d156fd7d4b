"""``torchvision:NAME`` on MNIST's own files, written here from the embedded digits."""

import struct

import numpy as np
import pytest

from stages.core import paths
from stages.core.data.downloads import parse_download
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError, DataError
from stages.core.image.pixel_store import PixelStore
from tests.support.images import DIGITS, IMAGES, params_with, run_stage


def idx(path, values: np.ndarray) -> None:
    path.write_bytes(
        struct.pack(">HBB", 0, 8, values.ndim)
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.tobytes()
    )


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "there" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, rows in (("train", slice(0, 40)), ("t10k", slice(40, 60))):
        idx(raw / f"{part}-images-idx3-ubyte", np.kron(IMAGES[rows], np.ones((1, 3, 3), np.uint8)))
        idx(raw / f"{part}-labels-idx1-ubyte", DIGITS.target[rows].astype(np.uint8))
    return tmp_path / "there"


def test_a_downloaded_set_keeps_its_splits_and_names(mnist):
    source = f"torchvision:MNIST,root={mnist}"
    run_stage(
        "ingest",
        params_with(
            ingest={
                "source": source,
                "labelled_fraction": 1,
                "validation_fraction": 0,
                "store_size": 24,
            }
        ),
    )
    manifest = Manifest.read(paths.POOL_MANIFEST)
    rows = manifest.frame.set_index("uri")
    assert len(rows) == 60
    assert (rows["status"] == "ok").all()
    assert (rows.index.str.startswith("torchvision:test/") == (rows["split"] == "test")).all()
    assert rows.loc["torchvision:train/000003", "label"] == "3 - three"
    store = PixelStore.open()
    assert store.shape == (60, 1, 24, 24)
    place = manifest.frame.index[manifest.frame["uri"] == "torchvision:test/000005"][0]
    assert (store.array(np.array([place]))[0, 0] == np.kron(IMAGES[45], np.ones((3, 3)))).all()


def test_what_is_not_downloaded_is_refused_with_the_command_that_downloads_it(mnist):
    for words, source in (
        ("did you mean 'MNIST'", "torchvision:MNISTS"),
        ("only option is root=FOLDER", "torchvision:MNIST,folder=x"),
        (
            r"does not exist; download MNIST first: python -c \"import torchvision",
            f"torchvision:MNIST,root={mnist}/nowhere",
        ),
    ):
        with pytest.raises(ConfigError, match=words):
            run_stage("ingest", params_with(ingest={"source": source}))
    with pytest.raises(DataError, match=r"KMNIST cannot be opened in .*; download it: python -c"):
        run_stage("ingest", params_with(ingest={"source": f"torchvision:KMNIST,root={mnist}"}))


def test_the_folder_is_an_option_and_videos_are_no_choice(tmp_path):
    assert parse_download("CIFAR10,root=/data").root.as_posix() == "/data"
    with pytest.raises(ConfigError, match="torchvision has no 'Kinetics'"):
        parse_download("Kinetics")
