"""Everyday trouble with images, names and labels: nothing is lost in silence, nothing held out is
trained on.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.core import paths
from stages.core.errors import ConfigError, DataError, Refused
from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.models.inference import ImageReader
from tests.support.images import class_folders, digit, encoded, params_with, run_stage, save


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ingest(source: object, **changes: object) -> pd.DataFrame:
    spec = f"folder:{source}" if isinstance(source, Path) else source
    run_stage("ingest", params_with(ingest={"source": spec, "labelled_fraction": 1, **changes}))
    return pd.read_parquet(paths.POOL_MANIFEST).set_index("uri", drop=False)


def validate(source: object, **changes: object) -> None:
    spec = f"folder:{source}" if isinstance(source, Path) else source
    params = params_with(
        ingest={"source": spec, "labelled_fraction": 1, **changes}, validate={"audits": []}
    )
    run_stage("ingest", params)
    run_stage("validate", params)


def left_out() -> dict[str, dict[str, int]]:
    file = paths.POOL / "left_out.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def pictures(root: Path, *folders: str, n: int = 12, first: int = 0, suffix: str = "png") -> None:
    """``n`` different pictures in each folder."""
    for place, folder in enumerate(folders):
        for number in range(n):
            save(digit(first + place * n + number), root / folder / f"{number:03}.{suffix}")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def table(file: Path, numbers: range, **columns: list[object]) -> None:
    """A Parquet file of pictures in the column ``image`` (or the one that ``named`` says)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    named = str(columns.pop("named", ["image"])[0])
    images = [{"bytes": encoded(digit(number), "PNG"), "path": None} for number in numbers]
    pq.write_table(pa.table({named: images, **columns}), file)


# given splits


def test_the_hub_layout_of_parquet_gives_its_splits(here, capsys):
    for split, numbers in {
        "train": range(40),
        "validation": range(40, 52),
        "test": range(52, 72),
    }.items():
        table(
            here / "hub/default" / split / "0000.parquet",
            numbers,
            label=[number % 2 for number in numbers],
        )
    rows = ingest(f"parquet:{here / 'hub'}")
    assert "split given by folder: train 40, val 12, test 20" in capsys.readouterr().out
    assert (
        rows["split"] == rows["uri"].str.extract(r"default/(\w+)/")[0].replace("validation", "val")
    ).all()


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Train", "Eval"),
        ("x/train", "x/holdout"),
    ],
)
def test_given_folders_are_splits_and_no_test_image_trains(here, capsys, train, test):
    pictures(here / "in", f"{train}/cats", f"{train}/dogs", f"{test}/cats", f"{test}/dogs")
    rows = ingest(here / "in")
    assert "split given by folder: train 24, test 24" in capsys.readouterr().out
    assert set(rows["label"]) == {"cats", "dogs"}
    assert ((rows["split"] == "test") == rows["uri"].str.contains(f":{test}/")).all()


def test_a_column_and_file_names_and_shards_give_splits(here, capsys):
    values = ["train"] * 20 + ["dev"] * 6 + ["test"] * 10
    table(here / "a.parquet", range(36), label=["a", "b"] * 18, subset=values)
    assert ingest(f"parquet:{here / 'a.parquet'}")["split"].value_counts().to_dict() == {
        "train": 20,
        "test": 10,
        "val": 6,
    }
    assert "split given by column 'subset': train 20, val 6, test 10" in capsys.readouterr().out
    for place, name in enumerate(["train", "valid", "test"]):
        for label in "ab":
            for number in range(5):
                save(
                    digit(place * 20 + number + 10 * (label == "b")),
                    here / "names" / label / f"{name}_{number}.png",
                )
    assert ingest(here / "names")["split"].value_counts().to_dict() == {
        "train": 10,
        "val": 10,
        "test": 10,
    }
    assert "split given by file name: train 10, val 10, test 10" in capsys.readouterr().out
    (here / "shards").mkdir()
    for place, name in enumerate(
        ["birds-train-00000-of-00002", "birds-train-00001-of-00002", "birds-test-00000-of-00001"]
    ):
        with tarfile.open(here / "shards" / f"{name}.tar", "w") as tar:
            for number in range(10):
                add(
                    tar,
                    f"{'ab'[number % 2]}/{number}.png",
                    encoded(digit(place * 10 + number), "PNG"),
                )
    rows = ingest(f"tar:{here / 'shards'}", validation_fraction=0)
    assert ((rows["split"] == "test") == rows["uri"].str.contains("birds-test")).all()
    assert "split given by file name: train 20, test 10" in capsys.readouterr().out


def test_a_column_that_looks_like_a_split_and_is_none_is_told_and_can_be_settled(here, capsys):
    table(
        here / "a.parquet",
        range(24),
        label=["a", "b"] * 12,
        split=["alpha", "alpha", "beta", "beta"] * 6,
    )
    assert set(ingest(f"parquet:{here / 'a.parquet'}")["split"]) == {"train", "val", "test"}
    assert (
        "column 'split' looks like a split, and 'alpha', 'beta' in it is not used as one"
        in capsys.readouterr().out
    )
    rows = ingest(
        f"parquet:{here / 'a.parquet'}",
        splits={"alpha": "train", "beta": "test"},
        validation_fraction=0,
    )
    assert rows["split"].tolist() == ["train", "train", "test", "test"] * 6


def test_what_lies_beside_given_splits_is_unlabelled_and_settable(here, capsys):
    pictures(
        here / "in",
        "seg_train/sea",
        "seg_train/street",
        "seg_test/sea",
        "seg_test/street",
        "seg_pred/seg_pred",
    )
    rows = ingest(here / "in")
    told = capsys.readouterr().out
    assert "split given by folder: train 24, test 24, unlabelled 12" in told
    assert (
        "'seg_pred' (12 images) beside the splits is none of them and is used unlabelled;"
        " ingest.splits" in told
    )
    assert rows.loc[rows["uri"].str.contains("seg_pred"), "label"].isna().all()
    assert set(rows["label"].dropna()) == {"sea", "street"}
    ingest(here / "in", splits={"seg_pred": "unlabelled"})
    assert "beside the splits" not in capsys.readouterr().out
    with pytest.raises(
        DataError,
        match=r"ingest.splits: 'seg_prd' names nothing in the sources; did you mean 'seg_pred'",
    ):
        ingest(here / "in", splits={"seg_prd": "unlabelled"})


def test_classes_that_repeat_their_sub_folders_are_refused(here):
    pictures(here / "in", "one/cats", "one/dogs", "two/cats", "two/dogs")
    with pytest.raises(
        Refused,
        match=(
            "'one', 'two' all hold 'cats', 'dogs': these look like the classes, and the folders"
            " above"
        ),
    ):
        validate(here / "in")
    validate(here / "in", splits={"one": "class", "two": "class"})
    validate(here / "in", splits={"one": "train", "two": "test"})


def test_data_that_are_all_held_out_are_refused(here):
    table(here / "test-00000.parquet", range(20), label=["a", "b"] * 10)
    with pytest.raises(
        DataError,
        match=r"every image of parquet:.* is given as test \(by file name\), so there is nothing",
    ):
        ingest(f"parquet:{here / 'test-00000.parquet'}")
    assert (
        len(ingest(f"parquet:{here / 'test-00000.parquet'}", splits={"test-00000": "class"})) == 20
    )


def test_a_held_out_split_without_labels_is_used_unlabelled_and_drawn_from_train(here, capsys):
    pictures(here / "in", "train/cat", "train/dog")
    pictures(here / "in", "test", first=100, suffix="jpg")
    rows = ingest(here / "in")
    assert (
        "test holds no labelled image: its 12 are used unlabelled; test is drawn from train"
        in capsys.readouterr().out
    )
    assert (rows.loc[rows["uri"].str.contains(":test/"), "split"] == "none").all()
    assert rows.loc[rows["split"] == "test", "uri"].str.contains(":train/").all()


# files left out


def test_content_decides_what_is_an_image_and_the_rest_is_counted_by_kind(here, capsys):
    source = class_folders(here / "in", per_class=6)
    for number in range(3):
        picture = digit(300 + number).convert("RGB")
        for kind, name in (
            ("AVIF", "a.avif"),
            ("JPEG2000", "b.jp2"),
            ("JPEG", "noext"),
            ("WEBP", "c.dat"),
            ("PNG", "d.JPG_large"),
        ):
            (source / str(number) / name).write_bytes(encoded(picture, kind))
        (source / str(number) / "IMG.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
        (source / str(number) / "notes").write_text("BMW and P5 are words")
    rows = ingest(source)
    assert len(rows) == 18 + 15
    assert (rows["status"] == "ok").all()
    assert left_out() == {"folder": {"(none)": 3, ".heic": 3}}
    assert (
        "6 files are no images that can be read here and are left out: 3 (none), 3 .heic; HEIC is"
        in capsys.readouterr().out
    )


def test_without_anything_left_out_nothing_is_written_beside_the_manifest(here):
    ingest(class_folders(here / "in"))
    assert sorted(entry.name for entry in paths.POOL.iterdir()) == ["manifest.parquet", "pixels"]


def test_a_compressed_shard_beside_a_plain_one_is_counted_and_told(here, capsys):
    (here / "shards").mkdir()
    for name, mode, first in (("000.tar", "w", 0), ("001.tgz", "w:gz", 12), ("plain", "w", 24)):
        with tarfile.open(here / "shards" / name, mode) as tar:
            for number in range(first, first + 12):
                add(tar, f"c{number % 2}/{number}.png", encoded(digit(number), "PNG"))
    assert len(ingest(f"tar:{here / 'shards'}")) == 24
    assert "compressed archives are not read: 1 .tgz; unpack each once" in capsys.readouterr().out
    assert left_out() == {"tar": {".tgz": 1}}


def test_what_systems_leave_is_one_list_for_every_reader(here):
    junk = b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(160)
    names = [
        "._1.png",
        "__MACOSX/1/._2.png",
        "@eaDir/1.png",
        "Thumbs.db",
        "lost+found/1.png",
        "$RECYCLE.BIN/x.png",
        ".DS_Store",
    ]
    with tarfile.open(here / "a.tar", "w") as tar:
        for label in "ab":
            for number in range(6):
                add(
                    tar,
                    f"./{label}/{number}.png",
                    encoded(digit(number + 10 * (label == "b")), "PNG"),
                )
        for name in names:
            add(tar, f"./a/{name}", junk)
    rows = ingest(f"tar:{here / 'a.tar'}")
    assert len(rows) == 12 and (rows["status"] == "ok").all()
    assert left_out() == {"tar": {"(system)": len(names)}}
    source = class_folders(here / "in")
    for name in names:
        (source / "0" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "0" / name).write_bytes(junk)
    assert (ingest(source)["status"] == "ok").all()
    assert left_out() == {"folder": {"(system)": len(names)}}


def test_patterns_leave_files_out_of_every_kind_of_source(here):
    source = class_folders(here / "in")
    save(digit(900), source / "0" / "1_mask.png")
    pictures(source, "drafts/x")
    rows = ingest(source, ignore=["*_mask.png", "drafts"])
    assert set(rows["label"]) == {"0", "1", "2"}
    assert left_out() == {"folder": {"(ingest.ignore)": 13}}
    with tarfile.open(here / "a.tar", "w") as tar:
        tar.add(source, ".")
    assert len(ingest(f"tar:{here / 'a.tar'}", ignore=["*_mask.png", "drafts/*"])) == 36
    assert left_out() == {"tar": {"(ingest.ignore)": 13}}


# 16 bits


@pytest.mark.parametrize(("bits", "offset"), [(10, 0), (12, 0), (14, 0), (16, 0), (9, 30000)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_range_in_use_becomes_the_whole_range(here, capsys, bits, offset, kind):
    for label in range(2):
        for number in range(8):
            grey = (
                np.asarray(digit(number * 2 + label)).astype(np.uint32) * ((1 << bits) - 1) // 255
                + offset
            )
            save(
                Image.fromarray(grey.astype(np.uint16)),
                here / "in" / str(label) / f"{number}.{kind.lower()}",
            )
    rows = ingest(here / "in", store_size=32, channels=1)
    stored = PixelStore.open()
    assert (rows["status"] == "ok").all()
    wanted = np.asarray(digit(0)).astype(int)
    assert np.abs(stored.array(np.array([0]))[0, 0].astype(int) - wanted).max() <= 31
    assert stored.array(np.arange(len(rows))).max() >= 230
    assert ("images of 16 bits (16 looked at)" in capsys.readouterr().out) == (bits < 16)


def test_colour_of_twelve_bits_is_read_at_full_depth_and_a_model_sees_what_was_trained_on(here):
    def deep_png(number: int) -> bytes:
        """RGB of 16 bits, which Pillow cannot write: chunk by chunk."""
        import struct
        import zlib

        grey = np.asarray(digit(number)).astype(np.uint16) * 16
        colour = np.stack([grey, grey[::-1], grey[:, ::-1]], -1)
        raw = b"".join(b"\0" + line.astype(">u2").tobytes() for line in colour)

        def chunk(name: bytes, content: bytes) -> bytes:
            return (
                struct.pack(">I", len(content))
                + name
                + content
                + struct.pack(">I", zlib.crc32(name + content))
            )

        header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
        parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

    for label in range(2):
        for number in range(8):
            file = here / "in" / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(deep_png(number * 2 + label))
    ingest(here / "in", store_size=32)
    store = PixelStore.open()
    assert store.levels == (0, 4095)
    grey = np.asarray(digit(0))
    stored = store.array(np.array([0]))
    assert (stored[0] == np.stack([grey, grey[::-1], grey[:, ::-1]])).all()
    preprocess = Preprocess.from_pixels(store, np.arange(8))
    preprocess.write(here)
    (batch,) = ImageReader(Preprocess.read(here)).batches([deep_png(0)])
    assert (batch.numpy() == stored).all()


def test_the_range_is_settable_and_few_levels_are_told(here, capsys):
    for label in range(2):
        for number in range(8):
            grey = np.asarray(digit(number * 2 + label)).astype(np.uint16) * 16
            save(Image.fromarray(grey), here / "in" / str(label) / f"{number}.png")
    ingest(here / "in", sixteen_bit=[0, 65535])
    told = capsys.readouterr().out
    assert "only 16 of 256 levels are in use" in told
    assert "the only channel uses few levels, 0 to 15 of 0 to 255" in told
    ingest(here / "in", sixteen_bit=[0, 3825], store_size=32)
    assert PixelStore.open().array(np.arange(16)).max() == 255


# labels


def test_labels_that_are_hardly_meant_are_told_with_both_names_and_counts(here, capsys):
    pictures(here / "in", "Cat", "cat", "dog", "dog ")
    composed, decomposed = (
        unicodedata.normalize("NFC", "caf\u00e9"),
        unicodedata.normalize("NFD", "caf\u00e9"),
    )
    pictures(here / "in", composed, decomposed, first=200)
    (here / "in" / "owl").mkdir()
    (here / "in" / "fox").mkdir()
    (here / "in" / "fox" / "1.png").write_bytes(b"broken")
    (here / "in" / "copy").mkdir()
    for number in range(4):
        shutil.copy(here / "in" / "dog" / f"{number:03}.png", here / "in" / "copy")
    ingest(here / "in")
    told = capsys.readouterr().out
    assert "classes 'Cat' (12 images) and 'cat' (12 images) differ only in case" in told
    assert "classes 'dog' (12 images) and 'dog ' (12 images) differ only in" in told
    assert (
        r"'cafe\u0301' (12 images) and 'caf\xe9' (12 images) differ only in the composition" in told
    )
    assert (
        "class folder without an image that can be read: 'owl' (0 images); the others: Cat 12"
        in told
    )
    assert "class 'fox': none of its 1 images can be used" in told
    assert "4 pictures are in 'copy' (4 images) and 'dog' (12 images)" in told


def test_a_class_of_mere_copies_is_refused_before_anything_is_trained(here):
    pictures(here / "in", "cat", "dog")
    (here / "in" / "zebra").mkdir()
    for number in range(4):
        shutil.copy(here / "in" / "cat" / f"{number:03}.png", here / "in" / "zebra")
    with pytest.raises(
        Refused, match=r"all 4 of 'zebra' are copies of images of 'cat' \(12 images\)"
    ):
        validate(here / "in", validation_fraction=0)


def test_rare_classes_are_kept_left_out_or_merged(here, capsys):
    pictures(here / "in", "cat", "dog")
    for number, name in enumerate(("lynx", "puma")):
        save(digit(500 + number), here / "in" / name / "1.png")
    with pytest.raises(
        Refused,
        match=(
            r"'lynx' has 1, 'puma' has 1 distinct images: ingest.rare_classes: leave_out or merge"
        ),
    ):
        validate(here / "in")
    assert (
        "classes of fewer than 3 distinct images: 'lynx' 1, 'puma' 1; kept; --set"
        " ingest.rare_classes" in capsys.readouterr().out
    )
    rows = ingest(here / "in", rare_classes="leave_out")
    assert set(rows["label"].dropna()) == {"cat", "dog"}
    assert len(rows) == 26
    rows = ingest(here / "in", rare_classes="merge")
    assert rows.loc[rows["label"] == "other", "uri"].tolist() == [
        "folder:lynx/1.png",
        "folder:puma/1.png",
    ]
    validate(here / "in", rare_classes="leave_out")


def test_labels_come_from_file_names_by_pattern(here, capsys):
    for place, name in enumerate(("cat", "dog")):
        for number in range(8):
            save(digit(place * 8 + number), here / "in" / "train" / f"{name}.{number}.jpg")
    save(digit(400), here / "in" / "train" / "readme.jpg")
    ingest(here / "in")
    assert "file names begin with 'cat', 'dog': if these are labels" in capsys.readouterr().out
    rows = ingest(here / "in", label_pattern="{label}.*.jpg")
    assert rows["label"].value_counts().to_dict() == {"cat": 8, "dog": 8}
    assert (
        "ingest.label_pattern fits 16 of 17 file names; the others are used unlabelled, such as"
        in capsys.readouterr().out
    )


def test_a_class_list_in_a_text_file_beside_flat_images_gets_the_hint(here, capsys):
    pictures(here / "in", "unlabelled")
    (here / "in" / "classes.txt").write_text("000.png cat\n")
    ingest(here / "in")
    assert "labels in .txt files are not read; docs/data.md" in capsys.readouterr().out


# sizes and columns


def test_tiny_images_and_banners_are_quarantined_with_the_reason(here):
    source = class_folders(here / "in", per_class=20)
    save(Image.new("RGB", (1, 1)), source / "0" / "pixel.gif")
    save(Image.new("RGB", (600, 3)), source / "1" / "banner.png")
    validate(source)
    rows = pd.read_parquet(paths.POOL_MANIFEST).set_index("uri")
    assert rows["reason"].dropna().to_dict() == {
        "folder:0/pixel.gif": "1 x 1 pixels: the shorter side is under 4 (validate.min_side)",
        "folder:1/banner.png": "600 x 3 pixels: the shorter side is under 4 (validate.min_side)",
    }
    for number in range(8):
        save(Image.new("RGB", (2, 50 + number)), source / "0" / f"line{number}.png")
    with pytest.raises(Refused, match="quarantined"):
        validate(source)


def test_columns_are_guessed_where_unambiguous_and_named_where_not(here, capsys):
    table(here / "a.parquet", range(24), named=["img"], fine_label=["a", "b"] * 12)
    assert set(ingest(f"parquet:{here / 'a.parquet'}")["label"]) == {"a", "b"}
    told = capsys.readouterr().out
    assert "images are taken from the column 'img'" in told
    assert "labels are taken from the column 'fine_label'" in told
    table(
        here / "b.parquet",
        range(24),
        named=["img"],
        fine_label=["a", "b"] * 12,
        coarse_label=["x", "y", "z"] * 8,
    )
    assert ingest(f"parquet:{here / 'b.parquet'}")["label"].isna().all()
    assert (
        "as 'fine_label' and 'coarse_label' may both be meant: ingest.columns: {label: fine_label}"
        in capsys.readouterr().out
    )
    chosen = {"image": "img", "label": "coarse_label"}
    assert set(ingest(f"parquet:{here / 'b.parquet'}", columns=chosen)["label"]) == {"x", "y", "z"}
    with pytest.raises(
        DataError, match=r"no column 'colour' of text or numbers \(ingest.columns\)"
    ):
        ingest(f"parquet:{here / 'b.parquet'}", columns={"image": "img", "label": "colour"})


def test_a_folder_of_nothing_but_unreadable_kinds_says_which(here):
    (here / "in").mkdir()
    (here / "in" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(ConfigError, match=r"has no images that can be read here \(1 of .heic\)"):
        ingest(here / "in")
