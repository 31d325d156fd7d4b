"""Names of folders, files and archives: which of them give a split, and which label is left."""

import pytest

from stages.core.labels import NamePattern, seem_named
from stages.core.layout import Layout, splits_of_containers, splits_of_names
from stages.core.splits import read, read_level


def places(*folders: str, **choices: str) -> dict[str, tuple[str | None, str | None]]:
    layout = Layout.of(folders, choices)
    return {folder: layout.place(folder) for folder in folders}


def test_class_folders_are_classes_at_whatever_depth_images_are_in():
    assert places("cat/deep", "dog", "") == {
        "cat/deep": (None, "cat"),
        "dog": (None, "dog"),
        "": (None, None),
    }
    assert places("cat", "unlabelled/x") == {"cat": (None, "cat"), "unlabelled/x": (None, None)}


@pytest.mark.parametrize(
    ("train", "held_out", "split"),
    [
        ("train", "test", "test"),
        ("training_set", "test_set", "test"),
        ("Training", "Testing", "test"),
        ("TRAIN", "VALID", "val"),
        ("trainset", "testset", "test"),
        ("trainSet", "devSet", "val"),
        ("train2017", "val2017", "val"),
        ("train_images", "val_images", "val"),
        ("images-train", "images-eval", "test"),
        ("seg_train", "seg_test", "test"),
        ("birds train v2", "birds test v2", "test"),
        ("train1", "test1", "test"),
        ("train_data", "validation_data", "val"),
        ("traindata", "evaluation", "test"),
        ("my-train", "holdout", "test"),
    ],
)
@pytest.mark.parametrize(
    "pattern", ["{}/{label}", "{}/{}/{label}", "data/{}/{label}", "{}/images/{label}", "{label}/{}"]
)
def test_a_split_is_recognised_by_any_of_its_names_at_any_level(train, held_out, split, pattern):
    folders = {
        (name, label): pattern.format(name, name, label=label)
        for name in (train, held_out)
        for label in ("cat", "dog")
    }
    found = places(*folders.values())
    for (name, label), folder in folders.items():
        assert found[folder] == ("train" if name == train else split, label)


def test_names_that_say_more_are_splits_where_they_hold_the_same_classes():
    assert places("seg_train/a", "seg_train/b", "test/a", "test/b")["seg_train/b"] == ("train", "b")
    assert places("a/seg_train", "b/seg_train", "a/test", "b/test")["b/seg_train"] == ("train", "b")
    assert places("training shoe/1", "test tube/2")["test tube/2"] == (None, "test tube")


def test_numbers_are_classes_also_where_a_split_has_one_only():
    assert places("train/0", "train/1", "test/0")["test/0"] == ("test", "0")


def test_eval_beside_train_and_test_is_val():
    assert places("train/a", "eval/a", "test/a")["eval/a"] == ("val", "a")


def test_a_test_folder_beside_class_folders_that_it_repeats_is_the_test_split():
    found = places("cat", "dog", "test/cat", "test/dog")
    assert found == {
        "cat": (None, "cat"),
        "dog": (None, "dog"),
        "test/cat": ("test", "cat"),
        "test/dog": ("test", "dog"),
    }


def test_what_lies_beside_both_splits_is_unlabelled_and_named():
    layout = Layout.of(
        ["seg_train/seg_train/sea", "seg_test/seg_test/sea", "seg_pred/seg_pred"], {}
    )
    assert layout.place("seg_pred/seg_pred") == ("unlabelled", None)
    assert layout.unused == ("seg_pred",)
    assert Layout.of(["seg_train/sea", "seg_test/sea", "seg_pred"], {"seg_pred": "val"}).place(
        "seg_pred"
    ) == ("val", None)
    assert places("stl_train/a", "stl_test/a", "stl_unlabelled")["stl_unlabelled"] == (
        "unlabelled",
        None,
    )


def test_words_that_are_part_of_a_class_name_give_no_split():
    for name in ("test tube", "valid_ticket", "training shoe", "train test"):
        assert not read(name).plain
    layout = Layout.of(["train", "crop"], {})
    assert layout.place("train") == (None, "train")
    assert layout.looks == ("train",)
    layout = Layout.of(["training shoe", "test tube", "cup"], {})
    assert layout.place("test tube") == (None, "test tube")


def test_choices_settle_what_names_do_not():
    assert places("a/cat", "b/cat", a="train", b="test") == {
        "a/cat": ("train", "cat"),
        "b/cat": ("test", "cat"),
    }
    assert places("cat", "dog", "extra", extra="unlabelled")["extra"] == ("unlabelled", None)
    assert places("cat", "dog", "extra", extra="unlabelled")["cat"] == (None, "cat")
    kept = places("train", "test", "crop", train="class", test="class")
    assert kept == {name: (None, name) for name in ("train", "test", "crop")}
    assert places("train/cat", "train/bad", "test/cat", bad="unlabelled")["train/bad"] == (
        "unlabelled",
        None,
    )


def test_file_names_give_splits_where_all_do():
    names = [f"cat/{split}_{number}.png" for split in ("train", "test") for number in range(5)]
    assert splits_of_names(names, {})[0] == ["train"] * 5 + ["test"] * 5
    found, examples = splits_of_names([*names, *(f"cat/{number}.png" for number in range(10))], {})
    assert (set(found), examples) == ({None}, ("train_0.png", "test_0.png"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["default/train/0000.parquet", "default/test/0000.parquet"], ["train", "test"]),
        (
            ["data/train-00000-of-00002.parquet", "data/validation-00001-of-00002.parquet"],
            ["train", "val"],
        ),
        (["birds-train-000.tar", "birds-test-000.tar"], ["train", "test"]),
        (["test-00000.parquet"], ["test"]),
        (["my_test_drive.parquet"], [None]),
        (["000.tar", "001.tar"], [None, None]),
    ],
)
def test_archives_give_splits_by_name_or_folder(names, expected):
    assert splits_of_containers(names, {})[0] == expected


def test_choices_name_archives_with_and_without_extension():
    assert splits_of_containers(["a.tar", "b.tar"], {"a.tar": "train", "b": "test"})[0] == [
        "train",
        "test",
    ]


def test_column_values():
    level = read_level(["train", "public_test", "valid"], {})
    assert level is not None
    assert level.given == {"train": "train", "public_test": "test", "valid": "val"}


@pytest.mark.parametrize(
    ("pattern", "name", "label", "split"),
    [
        ("{label}.*", "pets/cat.0.jpg", "cat", None),
        ("{label}_*", "great_pyrenees_12.jpg", "great_pyrenees", None),
        ("{label}_*.jpg", "cat_1.jpg", "cat", None),
        ("{split}_{label}_*", "test_cat_1.png", "cat", "test"),
        ("*/{label}/*", "x/cat/1.png", "cat", None),
    ],
)
def test_label_patterns(pattern, name, label, split):
    assert NamePattern(pattern).match(name) == (label, split)


def test_patterns_that_name_nothing_are_refused_and_names_that_look_like_labels_seen():
    with pytest.raises(ValueError, match=r"neither \{label\} nor \{split\}"):
        NamePattern("cat.*")
    assert NamePattern("{label}.*").match("cat.jpg") is None or NamePattern("{label}.*").match(
        "cat.jpg"
    ) == ("cat", None)
    assert seem_named(
        [f"{name}.{number}.jpg" for name in ("cat", "dog") for number in range(5)]
    ) == ("cat", "dog")
    assert seem_named([f"IMG_{number}.jpg" for number in range(9)]) == ()
