"""Every kind of source, alone and together, with what can be wrong with it."""

import gzip
import io
import json
import tarfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.data.sources import fingerprint
from stages.core.errors import ConfigError, DataError
from stages.core.image.pixel_store import PixelStore
from tests.support.images import DIGITS, class_folders, digit, encoded, params_with, run_stage


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ingest(source, **changes) -> pd.DataFrame:
    run_stage("ingest", params_with(ingest={"source": source, "labelled_fraction": 1, **changes}))
    return Manifest.read(paths.POOL_MANIFEST).frame.set_index("uri", drop=False)


def write_tar(path, members) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def test_webdataset_shards_with_labels_beside_and_hostile_names(here):
    (here / "shards").mkdir()
    for shard in range(2):
        members = []
        for number in range(shard * 20, shard * 20 + 20):
            members += [
                (f"{number:06}.png", encoded(digit(number), "PNG")),
                (f"{number:06}.cls", str(DIGITS.target[number]).encode()),
            ]
        members += [
            ("../../evil.png", encoded(digit(100 + shard), "PNG")),
            ("link.png", None),
            ("note.txt", b"x"),
        ]
        members += [
            ("twice.png", encoded(digit(200 + shard), "PNG")),
            ("twice.png", encoded(digit(300 + shard), "PNG")),
        ]
        write_tar(here / "shards" / f"{shard:05}.tar", members)
    rows = ingest(f"tar:{here / 'shards'}", test_fraction=0, validation_fraction=0)
    assert len(rows) == 2 * (20 + 3)
    assert (rows["status"] == "ok").all()
    for number in range(40):
        assert rows.loc[f"tar:{number // 20:05}.tar/{number:06}.png", "label"] == str(
            DIGITS.target[number]
        )
    assert "tar:00000.tar/../../evil.png" in rows.index
    assert {"tar:00001.tar/twice.png", "tar:00001.tar/twice.png#2"} <= set(rows.index)
    assert json.loads(paths.metrics("ingest").read_text())["ignored"] == {"(link)": 2, ".txt": 2}
    assert not (here.parent / "evil.png").exists()


def test_a_torn_tar_gives_what_stands_before_the_tear(here):
    write_tar(
        here / "a.tar",
        [
            (f"{label}/{number}.png", encoded(digit(number), "PNG"))
            for number, label in enumerate("ababab")
        ],
    )
    whole = (here / "a.tar").read_bytes()
    (here / "torn.tar").write_bytes(whole[: 512 * 6 + 100])
    rows = ingest(f"tar:{here / 'torn.tar'}")
    assert 1 <= len(rows) <= 4
    (here / "none.tar").write_bytes(b"x" * 3000)
    with pytest.raises(DataError, match="not an uncompressed tar"):
        ingest(f"tar:{here / 'none.tar'}")
    (here / "none.tar").write_bytes(gzip.compress(whole))
    with pytest.raises(DataError, match="it is gzipped: unpack it once with gunzip"):
        ingest(f"tar:{here / 'none.tar'}")


def test_hugging_face_parquet_with_class_names_and_splits(here):
    (here / "hf").mkdir()
    features = {
        "info": {"features": {"label": {"names": ["zero", "one", "two"], "_type": "ClassLabel"}}}
    }
    for split, numbers in {"train": range(60), "test": range(60, 90)}.items():
        kept = [number for number in numbers if DIGITS.target[number] < 3]
        images = [
            {"bytes": encoded(digit(number), "PNG"), "path": f"{number}.png"} for number in kept
        ]
        images[0]["bytes"] = b"broken"
        images[1]["bytes"] = None
        table = pa.table(
            {"image": images, "label": [int(DIGITS.target[number]) for number in kept]}
        )
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        pq.write_table(table, here / "hf" / f"{split}-00000-of-00001.parquet", row_group_size=7)
    rows = ingest(f"parquet:{here / 'hf'}", validation_fraction=0)
    assert (
        (rows["uri"].str.contains("/test-|:test-") == (rows["split"] == "test"))
        .where(rows["status"] == "ok", True)
        .all()
    )
    assert set(rows["label"].dropna()) == {"zero", "one", "two"}
    assert (
        rows["reason"].dropna().tolist()
        == ["not an image in a known format", "the row holds no bytes of an image"] * 2
    )
    stored = PixelStore.open().gather(np.arange(len(rows))).numpy()
    numbers = [number for number in range(60, 90) if DIGITS.target[number] < 3]
    assert (stored[2, 0] == np.asarray(digit(numbers[2]))).all()


def test_a_parquet_without_images_is_refused(here):
    pq.write_table(pa.table({"text": ["a"]}), here / "t.parquet")
    with pytest.raises(
        DataError, match=r"no column 'image' of image bytes; it has text \(string\)"
    ):
        ingest(f"parquet:{here / 't.parquet'}")


@pytest.mark.parametrize(
    ("column", "values", "said", "read"),
    [
        (
            "labels",
            ["a", "b"],
            "labels are taken from the column 'labels' (ingest.columns: {label: labels})",
            {"a", "b"},
        ),
        (
            "remark",
            ["a", "b"],
            (
                "no column 'label' of text or numbers; it has image (struct), remark (string);"
                " ingest.col"
            ),
            set(),
        ),
        (
            "label",
            [["a"], ["b"]],
            "no column 'label' of text or numbers; it has image (struct), label (list",
            set(),
        ),
        ("label", [1.0, 2.0, float("nan")], "", {"1", "2"}),
        ("label", ["a", "b", "", None], "", {"a", "b"}),
    ],
)
def test_a_column_of_labels_is_read_or_it_is_said_why_not(here, capsys, column, values, said, read):
    images = [{"bytes": encoded(digit(number), "PNG"), "path": None} for number in range(12)]
    pq.write_table(
        pa.table({"image": images, column: [values[number % len(values)] for number in range(12)]}),
        here / "a.parquet",
    )
    rows = ingest(f"parquet:{here / 'a.parquet'}")
    assert set(rows["label"].dropna()) == read
    assert said in capsys.readouterr().out


def test_archives_nothing_can_come_of_are_refused_in_one_line(here):
    write_tar(here / "empty.tar", [])
    write_tar(here / "text.tar", [("read.me", b"x"), ("also.me", b"x")])
    write_tar(
        here / "nested.tar",
        [
            (f"set/{label}/{label}.png", encoded(digit(number), "PNG"))
            for number, label in enumerate("ab")
        ],
    )
    for words, name in (
        ("empty.tar holds no images$", "empty"),
        (r"text.tar holds no images \(2 of .me\)", "text"),
        (r"have one label, 'set': .* pack what is in it: tar -cf x.tar -C set \.", "nested"),
    ):
        with pytest.raises(DataError, match=words):
            ingest(f"tar:{here / name}.tar")


def test_what_was_hardly_meant_is_told(here, capsys):
    class_folders(here / "in" / "train", per_class=2)
    class_folders(here / "in" / "crop", per_class=3)
    assert set(ingest(f"folder:{here / 'in'}")["label"]) == {"train", "crop"}
    assert (
        "'train' looks like a split and is not used as one, as not all names beside are splits;"
        " ingest.splits" in capsys.readouterr().out
    )
    class_folders(here / "flat" / "unlabelled", per_class=3)
    (here / "flat" / "labels.csv").write_text("file,label\n")
    ingest(f"folder:{here / 'flat'}")
    assert "labels in .csv files are not read" in capsys.readouterr().out


def test_several_sources_each_with_role_licence_and_attribution(here):
    class_folders(here / "birds", per_class=10)
    class_folders(here / "web", per_class=20)
    write_tar(
        here / "extra.tar",
        [
            ("test/7/x.png", encoded(digit(500), "PNG")),
            ("train/7/y.png", encoded(digit(501), "PNG")),
        ],
    )
    rows = ingest(
        [
            {"from": f"folder:{here / 'birds'}", "license": "CC0-1.0", "attribution": "A. Person"},
            {"from": f"folder:{here / 'web'}", "role": "pool", "name": "crawl"},
            {"from": f"tar:{here / 'extra.tar'}", "role": "pool"},
        ]
    )
    assert rows["source"].value_counts().to_dict() == {"crawl": 60, "folder": 30, "tar": 2}
    mine = rows[rows["source"] == "folder"]
    assert (mine["license"] == "CC0-1.0").all()
    assert (mine["attribution"] == "A. Person").all()
    other = rows[rows["source"] != "folder"]
    assert other["label"].isna().all()
    assert other["license"].isna().all()
    assert (other.loc[other["source"] == "tar", "split"] == "none").all()
    assert (rows.groupby("id")["split"].nunique() == 1).all()
    held_out = set(mine.loc[mine["split"] == "test", "id"])
    assert (rows.loc[rows["id"].isin(held_out), "split"] == "test").all()


def test_wrong_lists_of_sources_are_one_line(here):
    class_folders(here / "in", per_class=2)
    entry = {"from": f"folder:{here / 'in'}"}
    cases = {
        "the list is empty": [],
        "cannot name a source": [entry | {"name": "a"}, entry | {"name": "a"}],
        "nowhere.tar does not exist": [{"from": "tar:nowhere.tar"}],
        "has no .tar file": [{"from": f"tar:{here / 'in'}"}],
        "did you mean 'near_duplicates'": "synthetic:near_duplicate=0.1",
        "synthetic: an image has one fault at most, and the shares add up to 1.4": (
            "synthetic:duplicates=0.7,label_noise=0.7"
        ),
    }
    for words, source in cases.items():
        with pytest.raises(ConfigError, match=words):
            ingest(source)


def test_an_archive_that_changes_changes_the_fingerprint(here):
    write_tar(here / "a.tar", [("a/1.png", encoded(digit(1), "PNG"))])
    params = params_with(ingest={"source": f"tar:{here / 'a.tar'}"})
    before = fingerprint(params.ingest)
    assert fingerprint(params.ingest) == before
    write_tar(here / "a.tar", [("a/1.png", encoded(digit(2), "PNG"))])
    assert fingerprint(params.ingest) != before


def test_synthetic_faults_are_where_their_names_say(here):
    spec = "synthetic:images=300,duplicates=0.1,near_duplicates=0.1,corruption=0.05,label_noise=0.1,imbalance=10,domains=2"  # noqa: E501
    rows = ingest(spec)
    assert len(rows) == 300
    assert (rows["uri"].str.contains("corrupt") == (rows["status"] == "quarantined")).all()
    copies = rows[rows["uri"].str.contains(r"\d-copy-of-")]
    assert len(copies) == 30
    for uri, name in copies["id"].items():
        assert name == rows.loc[f"synthetic:{uri.rsplit('-', 1)[1]}", "id"]
    near = rows[rows["uri"].str.contains("near-copy-of-")]
    assert len(near) == 30
    assert near["id"].nunique() == 30
    counts = rows["label"].value_counts()
    assert counts["circle"] > 3 * counts.get("ring", 0)
    assert set(rows["group"]) == {"domain-0", "domain-1"}
    again = ingest(spec)
    pd.testing.assert_frame_equal(rows, again)
