"""Splits given by folders, names and columns: recognised, said, and never trained on."""

from __future__ import annotations

import tarfile

import pytest

from stages.core.errors import DataError, Refused
from tests.ingest.faults import add, ingest, pictures, table, validate
from tests.support.images import digit, encoded, save


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
