"""``python -m stages.ingest`` on real folders: every image gets a row, every row an explanation,
every run the same bytes.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError
from stages.core.image.pixel_store import PixelStore
from tests.support.images import (
    DIGITS,
    class_folders,
    damaged_files,
    digit,
    params_with,
    run_stage,
    save,
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ingest(source: object, **changes: object) -> Manifest:
    spec = f"folder:{source}" if isinstance(source, Path) else source
    run_stage("ingest", params_with(ingest={"source": spec, **changes}))
    return Manifest.read(paths.POOL_MANIFEST)


def outputs(root: Path) -> dict[str, str]:
    files = [
        file
        for folder in ("data", "metrics", "reports")
        for file in sorted((root / folder).rglob("*"))
        if file.is_file()
    ]
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def test_digits_are_split_per_class_and_three_quarters_lose_their_label(here):
    manifest = ingest("digits")
    frame = manifest.frame
    assert len(frame) == 1797
    assert (frame["status"] == "ok").all()
    assert manifest.classes == [str(label) for label in range(10)]
    held_out = frame["split"].isin(["val", "test"])
    for split, share in (("test", 0.2), ("val", 0.15)):
        counts = frame[frame["split"] == split].groupby("label").size()
        totals = np.bincount(DIGITS.target)
        assert (np.abs(counts.to_numpy() - share * totals) <= 1).all()
    labelled = len(manifest.labelled_rows("train"))
    assert abs(labelled - 0.25 * (~held_out).sum()) <= 10
    pool = frame[frame["split"] == "none"]
    assert pool["label"].isna().all()
    assert (pool["role"] == "pool").all()
    store = PixelStore.open()
    manifest.validate_against(store)
    assert store.shape == (1797, 1, 16, 16)


def test_two_directories_and_any_number_of_workers_give_the_same_bytes(tmp_path, monkeypatch):
    found = []
    for name, threshold in (("a", 10**9), ("b", 25)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        source = class_folders(tmp_path / name / "elsewhere" / name, per_class=40)
        damaged_files(source)
        monkeypatch.setattr("stages.ingest.collect.WORTH_A_WORKER", threshold)
        monkeypatch.setattr("stages.ingest.collect.CHUNK_BYTES", threshold * 32 * 32)
        ingest(source)
        found.append(outputs(tmp_path / name))
    assert found[0] == found[1]
    assert "data/pool/manifest.parquet" in found[0]


def test_every_damaged_file_is_a_row_with_its_reason_and_black_pixels(here):
    source = class_folders(here / "in")
    damaged = damaged_files(source)
    (source / "0" / "notes.txt").write_text("not an image")
    manifest = ingest(source)
    rows = manifest.frame.set_index("uri")
    assert len(rows) == 36 + len(damaged)
    for name, reason in damaged.items():
        row = rows.loc[f"folder:{name}"]
        assert row["status"] == "quarantined"
        assert reason.lower() in row["reason"].lower()
        assert row["split"] == "none"
        assert row["width"] == 0
    assert set(rows.index[rows["status"] == "quarantined"]) == {
        f"folder:{name}" for name in damaged
    }
    assert PixelStore.open().gather(manifest.rows(~manifest.ok)).sum() == 0
    metrics = json.loads(paths.metrics("ingest").read_text())
    assert (metrics["quarantined"], metrics["ignored"]) == (len(damaged), {".txt": 1})
    listed = (paths.reports("ingest") / "quarantined.csv").read_text()
    assert all(name in listed for name in damaged)


def test_pixels_belong_to_their_rows(here):
    class_folders(here / "in", per_class=5)
    manifest = ingest(here / "in", store_size=32, channels=1)
    stored = PixelStore.open().gather(np.arange(len(manifest))).numpy()[:, 0]
    for row, uri in enumerate(manifest.frame["uri"]):
        assert (stored[row] == np.asarray(digit(int(Path(uri).stem)))).all()


def test_copies_in_any_format_share_one_id_and_one_split_and_are_named(here):
    source = class_folders(here / "in", per_class=20)
    numbers = np.flatnonzero(DIGITS.target == 1)[:6]
    for number in numbers:
        save(digit(number), source / "1" / f"copy-{number}.bmp")
    manifest = ingest(source, labelled_fraction=0.5)
    frame = manifest.frame
    assert frame["id"].nunique() == len(frame) - 6
    assert (frame.groupby("id")["split"].nunique() == 1).all()
    listed = (paths.reports("ingest") / "duplicates.csv").read_text()
    assert all(f"copy-{number}.bmp" in listed for number in numbers)
    assert json.loads(paths.metrics("ingest").read_text())["duplicates"] == 6


def test_given_splits_are_kept_and_what_is_missing_is_taken_from_train(here):
    class_folders(here / "in" / "train", per_class=20)
    for label in range(3):
        for number in np.flatnonzero(DIGITS.target == label)[20:30]:
            save(digit(number), here / "in" / "test" / str(label) / f"{number}.png")
    frame = ingest(here / "in", labelled_fraction=1).frame
    assert (frame["uri"].str.startswith("folder:test/") == (frame["split"] == "test")).all()
    assert (frame[frame["split"] == "val"].groupby("label").size() == 3).all()
    assert (frame[frame["split"] == "train"].groupby("label").size() == 17).all()


def test_an_image_given_in_two_splits_goes_to_the_most_protected_one_and_says_so(here):
    class_folders(here / "in" / "train", per_class=10)
    number = np.flatnonzero(DIGITS.target == 0)[0]
    for folder in ("test/0/a.png", "val/0/b.png", "unlabelled/c.png"):
        save(digit(number), here / "in" / folder)
    rows = ingest(here / "in").frame.set_index("uri")
    for uri in (f"folder:train/0/{number:04}.png", "folder:val/0/b.png", "folder:unlabelled/c.png"):
        assert rows.loc[uri, "split"] == "test"
        assert rows.loc[uri, "reason"] == "in test as a copy of folder:test/0/a.png"
    assert rows["reason"].notna().sum() == 3


def test_flat_and_unlabelled_images_become_the_pool(here, capsys):
    class_folders(here / "in" / "unlabelled", classes=1, per_class=9)
    manifest = ingest(here / "in")
    assert (manifest.frame["split"] == "none").all()
    assert len(manifest.pretraining_rows()) == 9
    assert manifest.classes == []
    assert "no image has a label" in capsys.readouterr().out


def test_store_size_and_channels_follow_the_images(here):
    for name, side in (("a", 60), ("b", 70), ("c", 200)):
        save(digit(5).resize((side, side + 20)), here / "in" / name / "1.png")
    manifest = ingest(here / "in")
    assert PixelStore.open().shape == (3, 1, 64, 64)
    assert manifest.frame["width"].tolist() == [60, 70, 200]
    save(Image.merge("RGB", [digit(5), digit(6), digit(7)]), here / "in" / "a" / "2.png")
    manifest = ingest(here / "in")
    assert PixelStore.open().shape[1] == 3
    assert manifest.frame["channels"].tolist() == [1, 3, 1, 1]


def test_odd_names_are_kept_as_text(here):
    source = class_folders(here / "in", per_class=3)
    shutil.copy(source / "0" / "0000.png", bytes(source / "0") + b"/caf\xe9.png")
    shutil.copy(source / "0" / "0000.png", source / "0" / 'ünï, "quoted".PNG')
    uris = ingest(source).frame["uri"].tolist()
    assert "folder:0/caf\\xe9.png" in uris
    assert 'folder:0/ünï, "quoted".PNG' in uris


def test_a_refused_source_leaves_the_old_pool_alone(here):
    ingest(class_folders(here / "in", per_class=3))
    before = outputs(here)
    with pytest.raises(ConfigError, match="does not exist"):
        ingest(here / "nowhere")
    assert outputs(here) == before
