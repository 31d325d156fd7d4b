import hashlib

import numpy as np
import pandas as pd
import pytest

from stages.core.data.manifest import COLUMNS, Manifest
from stages.core.errors import DataError
from stages.core.image.pixel_store import PixelStore, PixelWriter


def make_frame() -> pd.DataFrame:
    count = 6
    frame = pd.DataFrame({name: [None] * count for name in COLUMNS})
    frame["id"] = ["a", "b", "c", "d", "e", None]
    frame["uri"] = [f"folder:{row}.png" for row in range(count)]
    frame["source"], frame["role"] = (
        "folder",
        ["target", "target", "pool", "target", "target", "target"],
    )
    frame["split"] = ["train", "train", "none", "val", "test", "none"]
    frame["label"] = ["dog", "cat", None, "cat", "dog", "ant"]
    frame["status"] = ["ok"] * 5 + ["quarantined"]
    frame[["width", "height", "channels"]] = 8
    return frame


def test_written_twice_is_byte_identical_and_reads_back(tmp_path):
    for name in "ab":
        Manifest(make_frame()).write(tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in "ab")
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert Manifest.read(tmp_path / "a").frame["label"].tolist()[:2] == ["dog", "cat"]


def test_classes_and_labels_leave_out_what_is_quarantined():
    manifest = Manifest(make_frame())
    assert manifest.classes == ["cat", "dog"]
    assert manifest.labels(np.array([0, 1, 2, 5])).tolist() == [1, 0, -1, -1]


def test_pretraining_sees_pool_and_train_only_and_honours_keep():
    manifest = Manifest(make_frame())
    assert manifest.pretraining_rows().tolist() == [0, 1, 2]
    assert manifest.labelled_rows("train").tolist() == [0, 1]
    assert manifest.labelled_rows("test").tolist() == [4]
    curated = Manifest(
        make_frame().assign(keep=[True, False, True, True, False, False], cluster=0, weight=1.0)
    )
    assert curated.pretraining_rows().tolist() == [0, 2]
    assert curated.labelled_rows("test").tolist() == []


def test_unlabelled_data_is_refused_where_labels_are_needed():
    with pytest.raises(DataError, match="one folder per class"):
        Manifest(make_frame().assign(label=None)).require_labels()


def test_a_missing_or_broken_manifest_is_named(tmp_path):
    with pytest.raises(DataError, match="is missing"):
        Manifest.read(tmp_path / "none.parquet")
    (tmp_path / "broken.parquet").write_text("no")
    with pytest.raises(DataError, match="not a Parquet file"):
        Manifest.read(tmp_path / "broken.parquet")
    Manifest(make_frame()).write(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    for place in range(4, len(whole), 97):
        (tmp_path / "bit.parquet").write_bytes(
            whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        )
        try:
            Manifest.read(tmp_path / "bit.parquet")
        except DataError as error:
            assert str(tmp_path / "bit.parquet") in str(error) or "lacks" in str(error)
    with pytest.raises(DataError, match="lacks the columns id"):
        Manifest(make_frame().drop(columns="id"))


def test_manifest_and_pixels_must_agree(tmp_path):
    with PixelWriter(tmp_path / "pixels", channels=1, size=8) as writer:
        writer.append(np.zeros((5, 1, 8, 8), np.uint8))
    with pytest.raises(DataError, match="6 rows and the pixel store 5"):
        Manifest(make_frame()).validate_against(PixelStore.open(tmp_path / "pixels"))
