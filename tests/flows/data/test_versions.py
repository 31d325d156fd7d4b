"""Dataset versions: tagged, compared, filled in after the fact."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from flows.data import versions
from flows.data.diff import KINDS, compare, summary
from flows.data.versions import DataVersion
from stages.core import paths
from stages.core.data.manifest import COLUMNS
from stages.core.metrics.drift import image_statistics
from stages.core.random import numpy_generator
from stages.core.sections import Monitor
from tests.flows.project.test_worktrees import inside
from tests.support.toy_stages import Tiny, tiny

MONITOR = Monitor(
    alpha=0.01, threshold=0.1, neighbours=5, max_images=200, max_unknown=0.2, retrain=False
)
POOL = """\
stages:
  ingest:
    cmd: python pool.py
    deps: [pool.py, pool.csv, pool.npy]
    outs: [data/pool]
"""
CURATE = """\
  curate:
    cmd: python curated.py
    deps: [curated.py, dropped.txt, data/pool]
    outs: [data/curated/manifest.parquet]
"""
SCRIPT = """\
import shutil
from pathlib import Path
import numpy as np, pandas as pd
from stages.core.data.manifest import Manifest
from stages.core.image.pixel_store import PixelWriter
frame = pd.read_csv("pool.csv", dtype=str, keep_default_na=False)
frame = frame.replace("", None).astype({"width": int, "height": int, "channels": int})
Manifest(frame).write("data/pool/manifest.parquet")
with PixelWriter("data/pool/pixels", 1, 8) as writer:
    writer.append(np.load("pool.npy"))
"""

DROPS = """
from pathlib import Path
import pandas as pd
from stages.core.data.manifest import Manifest
frame = pd.read_parquet("data/pool/manifest.parquet")
keep = ~frame["uri"].isin(Path("dropped.txt").read_text().split())
Manifest(frame.assign(keep=keep, cluster=0, weight=1.0)).write("data/curated/manifest.parquet")
"""


@pytest.fixture
def project(tmp_path: Path) -> Tiny:
    return tiny(tmp_path / "project")


def rows(count: int, prefix: str = "image") -> pd.DataFrame:
    blank = dict.fromkeys(COLUMNS, "") | {
        "source": "photos",
        "role": "target",
        "split": "train",
        "status": "ok",
    }
    blank |= {"width": 8, "height": 8, "channels": 1}
    return pd.DataFrame(
        [
            blank
            | {"id": f"{prefix}{i}", "uri": f"{prefix}{i}.png", "label": ["cat", "dog"][i % 2]}
            for i in range(count)
        ]
    )


def pixels(count: int, brightness: int = 100) -> np.ndarray:
    return numpy_generator(0, "pool", count).integers(
        brightness, brightness + 60, (count, 1, 8, 8), dtype=np.uint8
    )


def pool(
    project: Tiny, name: str, frame: pd.DataFrame, images: np.ndarray, curated: bool = False
) -> None:
    (project.root / "dvc.yaml").write_text(POOL + (CURATE if curated else ""))
    (project.root / "pool.py").write_text(SCRIPT)
    frame.to_csv(project.root / "pool.csv", index=False)
    np.save(project.root / "pool.npy", images)
    project.dvc("repro", "-q")
    project.commit(name)
    project.git("tag", "-a", f"data/{name}", "-m", name)


def test_a_curation_of_earlier_images_is_left_aside(project: Tiny) -> None:
    pool(project, "v1", rows(30), pixels(30))
    (project.root / "curated.py").write_text(DROPS)
    (project.root / "dropped.txt").write_text("")
    (project.root / "dvc.yaml").write_text(POOL + CURATE)
    project.dvc("repro", "-q")
    project.commit("curated")
    project.git("tag", "-a", "data/v2", "-m", "the same, curated")
    rows(50).to_csv(project.root / "pool.csv", index=False)
    np.save(project.root / "pool.npy", pixels(50))
    project.dvc("repro", "-q", "-s", "ingest")
    printed = project.rootstock("data", "diff", "v2", "WORKDIR")
    assert printed.split()[:2] == ["added", "20"]
    assert (
        "re-kept was not looked at: WORKDIR has not been curated since its images changed"
        in printed
    )
    assert "re-kept was not looked at: v1" in project.rootstock("data", "diff", "v1", "v2")


def test_tagging_commits_the_lock_and_the_parameters_and_nothing_else(project: Tiny) -> None:
    project.dvc("repro", "-q", "-s", "ingest")
    (project.root / "notes.txt").write_text("mine")
    project.git("add", "notes.txt")
    printed = project.rootstock("data", "tag", "v1", "-m", "the first")
    assert "dataset version v1 is commit" in printed
    assert (
        project.git("show", "--name-only", "--format=%s", "HEAD").split("\n")[0]
        == "Data version v1: the first"
    )
    assert project.git("show", "--name-only", "--format=", "HEAD").split() == ["dvc.lock"]
    assert project.git("status", "--porcelain") == "A  notes.txt"
    assert project.git("cat-file", "-t", "data/v1") == "tag"
    head = project.git("rev-parse", "HEAD")
    project.rootstock("data", "tag", "same", "-m", "no change needs no commit")
    assert project.git("rev-parse", "HEAD") == head
    assert "v1" in project.rootstock("data", "list")
    assert "versions never change" in project.rootstock("data", "tag", "v1", "-m", "again", code=2)
    assert "git takes no such tag (no spaces" in project.rootstock(
        "data", "tag", "v 1", "-m", "x", code=2
    )
    assert "list or a range" in project.rootstock("data", "tag", "a..b", "-m", "x", code=2)
    (project.root / "source.txt").write_text("7 7")
    assert "source.txt changed" in project.rootstock("data", "tag", "v2", "-m", "stale", code=2)


def test_a_diff_counts_every_kind_of_change_by_class_and_source(project: Tiny) -> None:
    old = rows(40)
    pool(project, "v1", old, pixels(40))
    new = old.copy()
    new.loc[0, "label"] = "bird"
    new.loc[1, "split"] = "test"
    new.loc[2, ["status", "id", "label"]] = ["quarantined", "", ""]
    new = pd.concat([new.drop(index=[3, 4]), rows(5, "fresh")], ignore_index=True)
    pool(project, "v2", new, np.concatenate([np.delete(pixels(40), [3, 4], 0), pixels(5)]))
    with inside(project, project.root):
        found = compare(
            DataVersion(project.root, "v1"), DataVersion(project.root, "v2"), MONITOR, 0
        )
    counts = {kind: len(table) for kind, table in found.tables.items()}
    assert counts == {
        "added": 5,
        "removed": 3,
        "moved": 1,
        "relabelled": 1,
        "re-kept": 0,
        "broken": 1,
        "recovered": 0,
    }
    assert summary(found.tables["relabelled"]) == [["bird", "photos", "cat", "bird", "1"]]
    assert summary(found.tables["added"]) == [
        ["cat", "photos", "", "new", "3"],
        ["dog", "photos", "", "new", "2"],
    ]
    assert found.drift is not None
    assert not found.drift.drifted
    printed = project.rootstock("data", "diff", "v1", "v2")
    assert "No drift" in printed
    assert "the few at a border are drawn again" in printed
    folder = project.root / "reports/data/v1..v2"
    with (folder / "changes.csv").open() as file:
        assert sum(row["change"] == "removed" for row in csv.DictReader(file)) == 3


def test_of_several_copies_the_kept_one_speaks_for_the_image(project: Tiny) -> None:
    """An image of the pool that was dropped as a copy is kept in another source; one without a
    label has one there.
    """
    (project.root / "curated.py").write_text(DROPS)
    (project.root / "dropped.txt").write_text("")
    old = rows(30)
    old.loc[0, "label"] = ""
    pool(project, "v1", old, pixels(30), curated=True)
    copies = rows(2).assign(source="scans", uri=["scans0.png", "scans1.png"])
    (project.root / "dropped.txt").write_text("image0.png image1.png image2.png")
    pool(
        project,
        "v2",
        pd.concat([old, copies], ignore_index=True),
        np.concatenate([pixels(30), pixels(30)[:2]]),
        curated=True,
    )
    with inside(project, project.root):
        found = compare(
            DataVersion(project.root, "v1"), DataVersion(project.root, "v2"), MONITOR, 0
        )
    assert summary(found.tables["re-kept"]) == [["cat", "photos", "True", "False", "1"]]
    assert summary(found.tables["relabelled"]) == [["cat", "scans", "none", "cat", "1"]]
    assert not len(found.tables["added"]) and not len(found.tables["removed"])


def test_every_kind_of_change_has_its_contact_sheet(project: Tiny) -> None:
    (project.root / "curated.py").write_text(DROPS)
    (project.root / "dropped.txt").write_text("image7.png")
    old = rows(30)
    old.loc[5, ["status", "id", "label"]] = ["quarantined", "", ""]
    pool(project, "v1", old, pixels(30), curated=True)
    (project.root / "dropped.txt").write_text("image8.png image9.png")
    new = rows(30)
    new.loc[0, "label"], new.loc[1, "split"] = "bird", "test"
    new.loc[2, ["status", "id", "label"]] = ["quarantined", "", ""]
    new = pd.concat([new.drop(index=[3]), rows(1, "fresh")], ignore_index=True)
    pool(project, "v2", new, np.concatenate([np.delete(pixels(30), 3, 0), pixels(1)]), curated=True)
    project.rootstock("data", "diff", "v1", "v2")
    page = (project.root / "reports/data/v1..v2/index.html").read_text()
    counts = {
        "added": 2,
        "removed": 2,
        "moved": 1,
        "relabelled": 1,
        "re-kept": 3,
        "broken": 1,
        "recovered": 1,
    }
    for kind, count in counts.items():
        assert (
            f'<h2>{count} images {KINDS[kind]}</h2>\n<img alt="{kind}" src="data:image/png;base64,'
            in page
        )


def test_a_diff_sees_that_pixels_drifted_and_nothing_where_nothing_changed(project: Tiny) -> None:
    pool(project, "v1", rows(60), pixels(60))
    pool(project, "v2", rows(60, "bright"), pixels(60, 150))
    project.git("checkout", "-q", "data/v1")  # versions are readable wherever the workspace stands
    with inside(project, project.root):
        first, second = DataVersion(project.root, "v1"), DataVersion(project.root, "v2")
        assert compare(first, second, MONITOR, 0).drift.drifted  # type: ignore[union-attr]
        same = compare(first, first, MONITOR, 0)
    assert not same.drift.drifted  # type: ignore[union-attr]
    assert {len(table) for table in same.tables.values()} == {0}


def test_a_version_whose_opening_was_killed_is_opened_whole(
    project: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool(project, "v1", rows(30), pixels(30))
    whole, links = versions._link, 0

    def dying(source: Path, target: Path) -> None:
        nonlocal links
        links += 1
        if links == 2:
            raise KeyboardInterrupt
        whole(source, target)

    with inside(project, project.root):
        monkeypatch.setattr(versions, "_link", dying)
        with pytest.raises(KeyboardInterrupt):
            DataVersion(project.root, "v1").open(paths.POOL)
        monkeypatch.undo()
        assert (
            len(DataVersion(project.root, "v1").manifest)
            == len(DataVersion(project.root, "v1").pixels)
            == 30
        )


def test_a_version_whose_bytes_are_nowhere_is_one_line(project: Tiny) -> None:
    pool(project, "v1", rows(40), pixels(40))
    pool(project, "v2", rows(41), pixels(41))
    shutil.rmtree(project.root / ".dvc/cache")
    shutil.rmtree(project.root / ".rootstock/cache/versions", ignore_errors=True)
    refused = project.rootstock("data", "diff", "v1", "v2", code=2)
    assert (
        "the data of version v1 is neither in DVC's cache nor at a remote" in refused
        and "Traceback" not in refused
    )


@pytest.mark.slow
def test_backfill_runs_every_version_once(project: Tiny, server: str) -> None:
    for name, values in (("v1", "0.1 0.1"), ("v2", "0.2 0.2"), ("v3", "0.3 0.3")):
        project.version(name, values)
    project.rootstock("backfill", "--data", "v1..v2")
    assert project.executions("pretrain") == 2
    printed = project.rootstock("backfill", "--data", "v1..v3", "--jobs", "2")
    assert project.executions("pretrain") == 3
    assert printed.count("cached") >= 2
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    assert set(lock["stages"]) == {"ingest"}  # the workspace is as it was


def test_statistics_of_images_agree_with_a_naive_loop() -> None:
    images = numpy_generator(0, "statistics").integers(0, 256, (3, 3, 9, 7), dtype=np.uint8)
    found, names = image_statistics(images)
    for image, row in zip(images.astype(float) / 255, found, strict=True):
        light = image.mean(axis=0)
        expected = {
            "brightness": light.mean(),
            "contrast": light.std(),
            "red mean": image[0].mean(),
            "blue spread": image[2].std(),
        }
        expected["brightness at row 1, column 1"] = light[:3, :2].mean()
        expected["sharpness"] = (
            np.abs(np.diff(light, axis=0)).mean() * 9 + np.abs(np.diff(light, axis=1)).mean() * 7
        )
        for name, value in expected.items():
            assert row[names.index(name)] == pytest.approx(value, rel=1e-4)
