"""Files that are no images: named and counted by kind, or quarantined with the reason."""

from __future__ import annotations

import tarfile

import pandas as pd
import pytest
from PIL import Image

from stages.core import paths
from stages.core.errors import ConfigError, Refused
from tests.ingest.faults import add, ingest, left_out, pictures, validate
from tests.support.images import class_folders, digit, encoded, save


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


def test_a_folder_of_nothing_but_unreadable_kinds_says_which(here):
    (here / "in").mkdir()
    (here / "in" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(ConfigError, match=r"has no images that can be read here \(1 of .heic\)"):
        ingest(here / "in")
