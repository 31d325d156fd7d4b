"""``python -m stages.validate``: a sound pool passes, every kind of fault stops it in one line that
names the images.
"""

import csv
import json

import pytest

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import Refused
from tests.support.images import class_folders, params_with, run_stage


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """An ingested folder of 60 pictures in 3 classes; ``damage`` rewrites its manifest."""
    monkeypatch.chdir(tmp_path)
    source = class_folders(tmp_path / "in", per_class=20)
    params = params_with(ingest={"source": f"folder:{source}", "labelled_fraction": 0.5})
    run_stage("ingest", params)
    return params


def damage(change) -> None:
    frame = Manifest.read(paths.POOL_MANIFEST).frame
    change(frame)
    Manifest(frame).write(paths.POOL_MANIFEST)


def findings() -> list[dict[str, str]]:
    with (paths.reports("validate") / "findings.csv").open() as file:
        return list(csv.DictReader(file))


def first_in(frame, split):
    return frame.index[frame["split"] == split][0]


def same_id_in_test_and_train(frame):
    frame.loc[first_in(frame, "train"), "id"] = frame.loc[first_in(frame, "test"), "id"]


def one_uri_twice(frame):
    frame.loc[1, "uri"] = frame.loc[0, "uri"]


def no_uri(frame):
    frame.loc[3, "uri"] = None


def short_id(frame):
    frame.loc[2, "id"] = "abc"


def neither_id_nor_reason(frame):
    frame.loc[4, ["id", "status"]] = [None, "quarantined"]


def unknown_split(frame):
    frame.loc[5, "split"] = "dev"


def unknown_role(frame):
    frame.loc[5, "role"] = "teacher"


def no_source(frame):
    frame.loc[5, "source"] = None


def tiny(frame):
    frame.loc[6, "width"] = 2


def huge(frame):
    frame.loc[6, "height"] = 30000


def class_missing_in_test(frame):
    frame.loc[(frame["split"] == "test") & (frame["label"] == "2"), "label"] = "1"


def too_many_quarantined(frame):
    frame.loc[frame.index[:4], ["status", "reason"]] = ["quarantined", "empty file"]


FAULTS = {
    same_id_in_test_and_train: "no image is in two splits; found: not so for 2 images: folder:",
    one_uri_twice: "every uri occurs once",
    no_uri: "every image has a uri",
    short_id: "ids are sha256; found: not so for 1 images: folder:",
    neither_id_nor_reason: "every image has an id or a reason",
    unknown_split: "split is one of train, val, test, none",
    unknown_role: "role is one of pool, target; found: not so for 1 images: folder:",
    no_source: "every image has a source; found: not so for 1 images: folder:",
    tiny: "the shorter side is between 4 and 20000 pixels",
    huge: "the longer side is between",
    class_missing_in_test: "every class is in each split; found: no 2 in test",
    too_many_quarantined: r"at most 5.0% of the images are quarantined; found: 4 of 60 \(6.7%\)",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_stops_the_pipeline_and_is_named(pool, fault):
    damage(fault)
    with pytest.raises(Refused, match=FAULTS[fault]) as caught:
        run_stage("validate", pool)
    lines = str(caught.value).splitlines()
    critical = {row["check"] for row in findings() if row["severity"] == "critical"}
    assert len(lines) == 1 + len(critical)
    assert json.loads(paths.metrics("validate").read_text())["passed"] is False
    assert (paths.DATA_DOCS / "index.html").is_file()


def test_a_class_with_too_few_images_in_a_split_stops_and_shows_them(pool):
    with pytest.raises(
        Refused,
        match=(
            "every class has at least 4 images in each split; found: not so for 9 images: folder:"
        ),
    ):
        run_stage(
            "validate",
            pool.model_copy(
                update={"validate_": pool.validate_.model_copy(update={"min_per_class": 4})}
            ),
        )
    rows = [row for row in findings() if row["check"].startswith("every class has at least 4")]
    assert len(rows) == 9 and all(
        (paths.reports("validate") / row["sheet"]).is_file() and row["id"] for row in rows
    )


def test_copies_with_two_labels_are_named(pool):
    def copy(frame):
        for label in ("1", "2"):
            frame.loc[
                frame.index[(frame["split"] == "train") & (frame["label"] == label)][0], "id"
            ] = "a" * 64

    damage(copy)
    run_stage("validate", pool)
    assert [
        row["severity"] for row in findings() if row["check"] == "copies of an image have one label"
    ] == ["warning"] * 2


def test_a_sound_pool_passes_and_the_verdict_is_the_same_every_time(pool):
    texts = set()
    for _ in range(2):
        run_stage("validate", pool)
        files = [paths.metrics("validate"), *sorted(paths.reports("validate").iterdir())]
        texts.add(b"".join(file.read_bytes() for file in files))
    assert len(texts) == 1
    found = json.loads(paths.metrics("validate").read_text())
    assert 3 < found.pop("intrinsic_dimension") < 15
    assert found.pop("label_sharpness") > 0
    assert found == {
        "checks": 33,
        "critical": 0,
        "images": 60,
        "info": 1,
        "passed": True,
        "quarantined": 0.0,
        "warning": 0,
    }
    assert findings()[0]["check"].startswith(
        "images that follow each other"
    )  # the digits come writer by writer
    assert sorted(file.name for file in paths.reports("validate").iterdir()) == [
        "datasheet.md",
        "findings.csv",
        "images-that-follow-each-other-are-no-more-alike-than-others.png",
        "profile.parquet",
    ]


def test_copies_within_a_split_are_a_warning_that_names_both(pool, capsys):
    def copy(frame):
        rows = frame.index[(frame["split"] == "train") & (frame["label"] == "1")][:2]
        frame.loc[rows[1], "id"] = frame.loc[rows[0], "id"]

    damage(copy)
    run_stage("validate", pool)
    assert [row["severity"] for row in findings() if row["severity"] != "info"] == ["warning"] * 2
    assert "no image occurs twice in a split" in capsys.readouterr().out


def test_a_pool_without_labels_passes_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "in" / "unlabelled", per_class=5)
    params = params_with(ingest={"source": f"folder:{tmp_path / 'in'}"})
    run_stage("ingest", params)
    run_stage("validate", params)
    assert [row["check"] for row in findings()] == ["some images have a label"]


def test_licences_are_required_only_on_demand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = [
        {
            "from": f"folder:{class_folders(tmp_path / 'in', per_class=10)}",
            "license": "CC0-1.0",
            "attribution": "A. Person",
        },
        {"from": "synthetic:images=20", "role": "pool", "license": "CC0-1.0"},
    ]
    params = params_with(ingest={"source": source}, validate={"require_license": True})
    run_stage("ingest", params)
    with pytest.raises(
        Refused,
        match=(
            r"an attribution \(one for each of ingest.source\); found: not so for 20 images: synth"
        ),
    ):
        run_stage("validate", params)
    run_stage("validate", params_with(ingest={"source": source}))


@pytest.mark.parametrize(
    ("readable", "words"),
    [(0, "none of the 2 images can be read"), (1, "expectations"), (2, "expectations")],
)
def test_a_handful_of_images_or_none_is_a_no_and_no_crash(tmp_path, monkeypatch, readable, words):
    monkeypatch.chdir(tmp_path)
    source = class_folders(tmp_path / "in", per_class=1)
    files = sorted(source.rglob("*.*"))[:2]
    for extra in set(source.rglob("*.*")) - set(files):
        extra.unlink()
    for file in files[readable:]:
        file.write_text("no image")
    params = params_with(ingest={"source": f"folder:{source}"})
    run_stage("ingest", params)
    with pytest.raises(Refused, match=words):
        run_stage("validate", params)
