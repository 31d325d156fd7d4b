"""``rootstock label-next``: a table, a page and the files of images without a label."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.core import paths
from stages.core.data.manifest import Manifest
from tests.support.toy_project import Project


@pytest.fixture
def sparse(asked: Project, tmp_path: Path) -> Project:
    """The project with half of its labels hidden."""
    root = tmp_path / "project"
    shutil.copytree(asked.root, root, symlinks=True)
    shutil.copytree(asked.root.parent / "in", tmp_path / "in")
    path = root / paths.CURATED_MANIFEST
    frame = Manifest.read(path).frame
    frame.loc[frame.index % 2 == 0, "label"] = None
    frame["split"] = np.where(frame.index % 5 == 4, "test", "train")
    Manifest(frame).write(path)
    return Project(root)


def test_images_without_a_label_are_listed_shown_and_linked(sparse: Project) -> None:
    frame = Manifest.read(sparse.root / paths.CURATED_MANIFEST).frame
    done = sparse.rootstock("label-next", "4", "--strategy", "typical")
    assert done.code == 0 and "4 of" in done.out, done
    folder = sparse.root / "reports/label-next"
    table = pd.read_csv(folder / "label-next.csv")
    assert table["rank"].tolist() == [1, 2, 3, 4] and table["id"].is_unique
    rows = frame.set_index("id").loc[table["id"]]
    assert rows["label"].isna().all() and (rows["split"] == "train").all() and rows["keep"].all()
    page = (folder / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "http" not in page
    links = sorted((folder / "images").iterdir())
    assert [link.name[:4] for link in links] == ["0001", "0002", "0003", "0004"]
    assert all(link.stat().st_size for link in links)


def test_more_than_there_are_is_all_of_them_and_a_slip_is_one_line(sparse: Project) -> None:
    done = sparse.rootstock("label-next", "100000", "--strategy", "margin")
    table = pd.read_csv(sparse.root / "reports/label-next/label-next.csv")
    assert done.code == 0 and f"{len(table)} of {len(table)}" in done.out.replace(",", "")
    slip = sparse.rootstock("label-next", "3", "--strategy", "margn")
    assert slip.code == 2 and "margin" in slip.err and slip.err.count("\n") == 1


def test_where_everything_has_a_label_nothing_is_left_to_choose(
    asked: Project, tmp_path: Path
) -> None:
    root = tmp_path / "project"
    shutil.copytree(asked.root, root, symlinks=True)
    path = root / paths.CURATED_MANIFEST
    frame = Manifest.read(path).frame
    frame["label"] = frame["label"].fillna("a")
    frame["split"] = "train"
    Manifest(frame).write(path)
    done = Project(root).rootstock("label-next", "3")
    assert done.code != 0 and "there is nothing to choose" in done.err
