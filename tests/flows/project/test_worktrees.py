"""Worktrees: the working tree as it is, elsewhere; shared cache; nothing left behind; stages
restored, data pinned.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.adapters.dvc import run_cache
from flows.adapters.dvc.plan import read_plan
from flows.project import environment, worktrees
from flows.project.git import read_at, snapshot
from flows.project.params_file import override
from stages.core.errors import ConfigError
from tests.support.toy_stages import Tiny, tiny


@pytest.fixture
def project(tmp_path: Path) -> Tiny:
    return tiny(tmp_path / "project")


@contextlib.contextmanager
def inside(project: Tiny, folder: Path) -> Iterator[None]:
    before, here = dict(os.environ), Path.cwd()
    os.environ.update(project.environment())
    environment.enter(folder)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.chdir(here)


def test_a_clean_tree_is_its_head_and_a_changed_one_a_commit_beside_the_branch(
    project: Tiny,
) -> None:
    head = project.git("rev-parse", "HEAD")
    assert snapshot(project.root, "one") == head
    (project.root / "source.txt").write_text("1 2 3")
    (project.root / "new.txt").write_text("untracked")
    (project.root / "data").mkdir()
    (project.root / "data/ignored").write_text("x")
    before = project.git("status", "--porcelain")
    commit = snapshot(project.root, "one")
    assert project.git("status", "--porcelain") == before
    assert project.git("rev-parse", "HEAD") == head
    assert read_at(project.root, commit, "source.txt") == "1 2 3"
    assert set(project.git("diff", "--name-only", head, commit).split()) == {
        "source.txt",
        "new.txt",
    }
    assert project.git("rev-parse", "refs/rootstock/one") == commit


def test_versions_resolve_by_tag_name_and_ranges_follow_their_order(project: Tiny) -> None:
    for name in ("v1", "v2", "v10"):
        project.git("tag", "-a", f"data/{name}", "-m", name)
    assert worktrees.resolve(project.root, "v1") == project.git("rev-parse", "HEAD")
    assert worktrees.resolve(project.root, "HEAD") == project.git("rev-parse", "HEAD")
    assert worktrees.expand(project.root, "v1..v10,WORKDIR") == ["v1", "v2", "v10", "WORKDIR"]
    with pytest.raises(ConfigError, match="did you mean 'v10'"):
        worktrees.resolve(project.root, "v100")
    with pytest.raises(ConfigError, match="turn the range round"):
        worktrees.expand(project.root, "v2..v1")


def test_a_worktree_shares_cache_and_checkpoints_and_leaves_nothing(
    project: Tiny, tmp_path: Path
) -> None:
    place = tmp_path / "cells" / "one"
    (project.root / ".dvc/config.local").write_text(
        '[cache]\n    shared = group\n[remote "s3"]\n    url = s3://bucket\n    secret_access_key ='
        " hidden\n"
    )
    for _ in range(2):  # the second time over what a killed first one left
        worktrees.add(project.root, place, project.git("rev-parse", "HEAD"))
    local = (place / ".dvc/config.local").read_text()
    assert f"dir = {project.root}/.dvc/cache" in local
    assert "hidden" in local
    assert (place / ".dvc/config.local").stat().st_mode & 0o077 == 0
    (place / ".rootstock/resume/checkpoint").write_text("epoch 3")
    assert (project.root / ".rootstock/resume/checkpoint").read_text() == "epoch 3"
    assert project.git("status", "--porcelain") == ""
    worktrees.remove(project.root, place)
    assert not place.exists()
    assert (project.root / ".rootstock/resume/checkpoint").exists()
    assert project.git("worktree", "list").count("\n") == 0


def test_what_one_worktree_made_another_restores(project: Tiny, tmp_path: Path) -> None:
    project.dvc("repro", "-q")
    place = tmp_path / "cell"
    worktrees.add(project.root, place, project.git("rev-parse", "HEAD"))
    with inside(project, project.root):
        expected = run_cache.signature("pretrain")
    with inside(project, place):
        for name in ("ingest", "curate", "pretrain", "evaluate"):
            assert run_cache.restore(name)
        assert run_cache.signature("pretrain") == expected
        assert read_plan().reasons == {"ingest": [], "curate": [], "pretrain": [], "evaluate": []}
        override(["seed=1"])
        assert run_cache.signature("pretrain") != expected
        assert not run_cache.restore("pretrain")
    assert project.executions() == 4


def test_a_pinned_stage_holds_its_version_and_is_never_stale(project: Tiny, tmp_path: Path) -> None:
    first = project.version("v1", "1 1")
    project.version("v2", "2 2")
    (project.root / "ingest.py").write_text(
        (project.root / "ingest.py").read_text() + "# code moved on\n"
    )
    code = snapshot(project.root, "experiment")
    place = tmp_path / "cell"
    worktrees.add(project.root, place, code)
    with inside(project, place):
        assert run_cache.data_stages() == ["ingest"]
        run_cache.pin(["ingest"], read_at(project.root, first, "dvc.lock"))
        assert yaml.safe_load((place / "data/pool/values.json").read_text()) == [1.0, 1.0]
        assert read_plan().reasons["ingest"] == []
        with pytest.raises(ConfigError, match="no entry for evaluate"):
            run_cache.pin(["evaluate"], read_at(project.root, first, "dvc.lock"))


def test_a_version_whose_data_is_nowhere_is_refused(project: Tiny, tmp_path: Path) -> None:
    first = project.version("v1", "1 1")
    for file in (project.root / ".dvc/cache/files").rglob("*"):
        if file.is_file():
            file.unlink()
    place = tmp_path / "cell"
    worktrees.add(project.root, place, first)
    with (
        inside(project, place),
        pytest.raises(ConfigError, match="neither in DVC's cache nor at its remote"),
    ):
        run_cache.pin(["ingest"], read_at(project.root, first, "dvc.lock"))
