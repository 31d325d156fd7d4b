"""``python -m stages.curate``: every row stays, every dropped one says why, held-out images are
never sampled away.
"""

import json
import shutil

import numpy as np
import pytest
from PIL import ImageEnhance

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError
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


def curate(**changes) -> Manifest:
    run_stage("curate", params_with(curate=changes))
    return Manifest.read(paths.CURATED_MANIFEST)


def test_copies_and_altered_copies_go_and_are_explained(here):
    source = class_folders(here / "in", per_class=30)
    damaged = damaged_files(source)
    numbers = np.flatnonzero(DIGITS.target == 2)[:4]
    for number in numbers[:2]:
        shutil.copy(source / "2" / f"{number:04}.png", source / "2" / f"copy-{number}.png")
    save(ImageEnhance.Brightness(digit(numbers[2])).enhance(0.9), source / "2" / "darker.png")
    save(digit(numbers[3]), source / "2" / "again.jpg", quality=95)
    run_stage(
        "ingest",
        params_with(
            ingest={
                "source": f"folder:{source}",
                "labelled_fraction": 1,
                "test_fraction": 0,
                "validation_fraction": 0,
            }
        ),
    )
    manifest = curate()
    rows = manifest.frame.set_index("uri")
    for number in numbers[:2]:
        assert (
            rows.loc[f"folder:2/copy-{number}.png", "reason"]
            == f"exact_duplicates: copy of folder:2/{number:04}.png"
        )
    near = rows[rows["reason"].fillna("").str.startswith("near_duplicates")]
    pairs = {frozenset((uri, reason.split(" like ")[1])) for uri, reason in near["reason"].items()}
    assert pairs == {
        frozenset(("folder:2/darker.png", f"folder:2/{numbers[2]:04}.png")),
        frozenset(("folder:2/again.jpg", f"folder:2/{numbers[3]:04}.png")),
    }
    assert (rows.loc[~rows["keep"], "reason"].notna()).all()
    assert set(rows.index[~rows["keep"]]) >= {f"folder:{name}" for name in damaged}
    assert len(rows) == len(Manifest.read(paths.POOL_MANIFEST))
    dropped = (paths.reports("curate") / "dropped.csv").read_text().splitlines()
    assert len(dropped) == 1 + (~rows["keep"]).sum() == 1 + len(damaged) + 4


def test_distinct_digits_are_no_duplicates(here):
    run_stage("ingest", params_with())
    manifest = curate()
    assert manifest.kept.sum() >= 1797 - 5


def test_a_training_image_like_a_test_image_gives_way(here):
    class_folders(here / "in" / "train", per_class=30)
    number = np.flatnonzero(DIGITS.target == 1)[3]
    save(digit(number), here / "in" / "test" / "1" / "x.jpg", quality=95)
    for label in (0, 2):
        save(
            digit(np.flatnonzero(DIGITS.target == label)[40]),
            here / "in" / "test" / str(label) / "y.png",
        )
    run_stage("ingest", params_with(ingest={"source": f"folder:{here / 'in'}"}))
    rows = curate().frame.set_index("uri")
    assert not rows.loc[f"folder:train/1/{number:04}.png", "keep"]
    assert "like folder:test/1/x.jpg" in rows.loc[f"folder:train/1/{number:04}.png", "reason"]
    assert rows.loc["folder:test/1/x.jpg", "keep"]


@pytest.mark.parametrize("budget", [0.5, 200])
def test_the_budget_is_met_exactly_and_spares_held_out_and_labelled_images(here, budget):
    run_stage("ingest", params_with(ingest={"labelled_fraction": 0.1}))
    before = Manifest.read(paths.POOL_MANIFEST)
    manifest = curate(budget=budget)
    expected = budget if budget > 1 else round(budget * len(before.pretraining_rows()))
    assert len(manifest.pretraining_rows()) == expected
    for split in ("train", "val", "test"):
        assert (manifest.labelled_rows(split) == before.labelled_rows(split)).all()
    frame = manifest.frame
    kept = frame["keep"] & frame["split"].isin(["train", "none"])
    assert np.isclose(frame.loc[kept, "weight"].mean(), 1, atol=1e-4)
    gone = frame[~frame["keep"] & frame["reason"].str.startswith("balance")]
    assert (
        gone["reason"]
        == [f"balance: cluster {number} is over its quota" for number in gone["cluster"]]
    ).all() and len(gone) > 9
    assert (frame.loc[~frame["keep"], "weight"] == 0).all()
    assert (frame["cluster"] >= 0).all()
    assert json.loads(paths.metrics("curate").read_text())["pretraining"] == expected


def test_twice_is_byte_identical_and_the_cache_changes_nothing(here):
    source = class_folders(here / "in", per_class=60)
    run_stage("ingest", params_with(ingest={"source": f"folder:{source}"}))
    texts = set()
    for _ in range(2):
        curate(budget=0.3)
        texts.add(paths.CURATED_MANIFEST.read_bytes())
    shutil.rmtree(paths.CACHE)
    curate(budget=0.3)
    assert texts == {paths.CURATED_MANIFEST.read_bytes()}


def test_wrong_steps_are_refused_in_one_line(here):
    cases = {
        "exact_duplicate": "did you mean 'exact_duplicates'",
        "balance: {cluster: 3}": "did you mean 'clusters'",
        "near_duplicates: {similarity: 2}": "less than or equal to 1",
    }
    for text, hint in cases.items():
        name, _, settings = text.partition(": ")
        key, _, value = settings.strip("{}").partition(": ")
        entry = {name: {key: int(value)}} if settings else name
        with pytest.raises(ConfigError, match=hint) as caught:
            curate(steps=[entry])
        assert "\n" not in str(caught.value)
        assert "curate.steps[0]" in str(caught.value)
