"""Random layouts of folders: every file is a row or counted, nothing given as test trains, names
print and round-trip.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.core.data.sources import check_source, sources
from stages.core.errors import RootstockError
from stages.core.splits import read
from stages.ingest.auto_settings import Store
from stages.ingest.collect import complete_manifest, decode_images, join_facts, list_sources
from stages.ingest.given import check_choices, settle
from stages.ingest.warnings import check_listed
from tests.support.images import params_with

TRAIN = (
    "train",
    "Training",
    "training_set",
    "TRAIN",
    "train2017",
    "seg_train",
    "train-images",
    "trainset",
)
TEST = (
    "test",
    "Testing",
    "test_set",
    "TEST",
    "test2017",
    "seg_test",
    "images_test",
    "testset",
    "holdout",
    "evaluation",
)
VAL = ("val", "valid", "validation", "dev_set", "val2017", "seg_val")
CLASSES = (
    "cat",
    "dog",
    "caf\u00e9",
    "cafe\u0301",
    "1",
    "20",
    "black & white",
    "\u732b",
    "-x",
    "a'b\"c",
    "{label}",
    "50 %",
)
JUNK = (
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "._a.png",
    "__MACOSX/a.png",
    "@eaDir/a.jpg",
    ".hidden.png",
    "lost+found/a.png",
)
OTHER = ("notes.txt", "labels.csv", "README", "IMG.HEIC", "clip.mp4", "b.zip", "raw.CR2")
KINDS = {
    **{
        "png": "PNG",
        "PNG": "PNG",
        "jpg": "JPEG",
        "jpeg": "JPEG",
        "webp": "WEBP",
        "bmp": "BMP",
        "gif": "GIF",
    },
    **{
        "tif": "TIFF",
        "ppm": "PPM",
        "avif": "AVIF",
        "jp2": "JPEG2000",
        "": "PNG",
        "dat": "JPEG",
        "2024-01-01": "PNG",
    },
}
"""Extension → what is really in the file."""
NESTINGS = (
    "{split}/{label}",
    "{split}/{split}/{label}",
    "data/{split}/{label}",
    "{split}/images/{label}",
    "{label}/{split}",
)


@dataclass(frozen=True)
class Made:
    """A folder and what stands in it: uri below the root → split and label; files in all."""

    places: dict[str, tuple[str, str]]
    files: int


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, object]:
    return {
        "train": draw(st.sampled_from(TRAIN)),
        "test": draw(st.sampled_from(TEST)),
        "val": draw(st.none() | st.sampled_from(VAL)),
        "classes": draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=3, unique=True)),
        "nesting": draw(st.sampled_from(NESTINGS)),
        "kinds": draw(
            st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4, unique=True)
        ),
        "junk": draw(st.lists(st.sampled_from(JUNK), max_size=3, unique=True)),
        "other": draw(st.lists(st.sampled_from(OTHER), max_size=3, unique=True)),
        "seed": draw(st.integers(0, 2**16)),
    }


def picture(seed: int, kind: str) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def make(root: Path, layout: dict[str, object]) -> Made:
    places, number = {}, 0
    names = {"train": layout["train"], "val": layout["val"], "test": layout["test"]}
    for split, name in names.items():
        if name is None:
            continue
        for label in layout["classes"]:  # type: ignore[attr-defined]
            folder = str(layout["nesting"]).replace("{split}", str(name)).replace("{label}", label)
            for extension in layout["kinds"]:  # type: ignore[attr-defined]
                number += 1
                file = f"{folder}/{number:03}.{extension}".rstrip(".")
                (root / folder).mkdir(parents=True, exist_ok=True)
                (root / file).write_bytes(
                    picture(int(str(layout["seed"])) + number, KINDS[extension])
                )
                places[file] = (split, label)
            for extra in (*layout["junk"], *layout["other"]):  # type: ignore[misc]
                (root / folder / extra).parent.mkdir(parents=True, exist_ok=True)
                (root / folder / extra).write_bytes(
                    b"II*\0" if extra.endswith("CR2") else b"of no use"
                )
    return Made(places, sum(len(files) for _, _, files in os.walk(root)))


def ingest(root: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """The manifest and the files left out, by kind: what the stage makes of a folder, without its
    reports.
    """
    params = params_with(ingest={"source": f"folder:{root}", "labelled_fraction": 1})
    found = sources(params.ingest)
    check_source(params.ingest, found)
    listed = list_sources(found, params)
    check_listed(listed)
    check_choices(listed, params.ingest)
    listed = settle(listed, params.ingest)
    facts = decode_images(listed, Store(8, 3), 10**6, root.parent / "pixels", root.parent / "cache")
    return complete_manifest(join_facts(listed, facts), params), listed[0][1].ignored


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(layouts())
def test_every_file_is_a_row_or_counted_and_nothing_given_as_test_trains(
    layout: dict[str, object],
) -> None:
    base = Path(tempfile.mkdtemp())
    before = Path.cwd()
    try:
        os.chdir(base)
        root = base / "in"
        made = make(root, layout)
        frame, ignored = ingest(root)
        assert len(frame) + sum(ignored.values()) == made.files
        rows = frame.set_index(frame["uri"].str.removeprefix("folder:"))
        assert set(rows.index) == set(made.places)
        assert (frame["status"] == "ok").all(), frame["reason"].dropna().tolist()
        for file, (split, label) in made.places.items():
            found = rows.loc[file, "split"]
            assert (
                (found == split) if split != "train" or layout["val"] else found in ("train", "val")
            ), (file, found)
            assert rows.loc[file, "label"] == label
        text = frame.to_csv(index=False)
        text.encode()
        again = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        assert again["uri"].tolist() == frame["uri"].tolist()
        assert again["label"].tolist() == frame["label"].tolist()
        assert json.loads(json.dumps(frame["uri"].tolist())) == frame["uri"].tolist()
    finally:
        os.chdir(before)
        shutil.rmtree(base)


ODD = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and not name.startswith(b".")
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(ODD, min_size=2, max_size=6, unique=True),
    st.lists(ODD, min_size=1, max_size=6, unique=True),
)
def test_names_of_any_bytes_are_rows_or_counted_and_print(
    folders: list[bytes], files: list[bytes]
) -> None:
    base = Path(tempfile.mkdtemp())
    before = Path.cwd()
    try:
        os.chdir(base)
        root = base / "in"
        for place, folder in enumerate(folders):
            for number, file in enumerate(files):
                path = root / os.fsdecode(b"c" + folder) / os.fsdecode(file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture(place * 10 + number, "PNG"))
        count = sum(len(names) for _, _, names in os.walk(os.fsencode(root)))
        try:
            frame, ignored = ingest(root)
        except RootstockError as error:
            str(error).encode()
            return
        assert len(frame) + sum(ignored.values()) == count
        assert frame["uri"].is_unique
        frame.to_csv(index=False).encode()
    finally:
        os.chdir(before)
        shutil.rmtree(os.fsencode(base))


def test_the_names_above_are_read_as_they_are_meant() -> None:
    """So that the property above is about splits and not about chance."""
    for names, split in ((TRAIN, "train"), (TEST, "test"), (VAL, "val")):
        for name in names:
            assert read(name).split == split, name
