"""Labels that are hardly meant, rare or hidden in names and columns: one line each."""

from __future__ import annotations

import shutil
import unicodedata

import pytest

from stages.core.errors import DataError, Refused
from tests.ingest.faults import ingest, pictures, table, validate
from tests.support.images import digit, save


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
