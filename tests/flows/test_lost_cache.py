"""A cache of DVC that was deleted: what the workspace still holds is put back, and nothing runs
again.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.adapters.dvc import plan

STAGES = """
stages:
  a:
    cmd: mkdir -p data/a && echo one > data/a/1.txt && echo two > data/a/2.txt
    outs: [data/a]
  b:
    cmd: cp data/a/1.txt b.txt
    deps: [data/a]
    outs: [b.txt]
    metrics: [m.json: {cache: false}]
""".replace("cp data/a/1.txt b.txt", "cp data/a/1.txt b.txt && echo {} > m.json")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two stages that ran."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(STAGES)
    for arguments in (
        ["init", "-q", "--no-scm"],
        ["config", "core.analytics", "false"],
        ["repro", "-q"],
    ):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True)
    return tmp_path


def test_a_lost_cache_is_filled_from_the_workspace(made: Path) -> None:
    before = {
        file.name: file.read_bytes()
        for file in (made / ".dvc/cache/files").rglob("*")
        if file.is_file()
    }
    shutil.rmtree(made / ".dvc/cache")
    assert plan.read_plan().reasons == {"a": [], "b": []}
    assert not (made / ".dvc/cache/files").exists(), "who only asks changes nothing"
    assert plan.read_plan(put_back=True).reasons == {"a": [], "b": []}
    after = {
        file.name: file.read_bytes()
        for file in (made / ".dvc/cache/files").rglob("*")
        if file.is_file()
    }
    assert len(after) == 3, "two files and their listing; b.txt is a copy of one"
    assert after.items() <= before.items()
    assert (made / "data/a/2.txt").read_text() == "two\n"


def test_what_the_workspace_has_lost_or_changed_is_made_again(made: Path) -> None:
    shutil.rmtree(made / ".dvc/cache")
    (made / "data/a/2.txt").unlink()
    (made / "data/a/2.txt").write_text("by hand")
    (made / "b.txt").unlink()
    reasons = plan.read_plan(put_back=True).reasons
    assert reasons["a"] and reasons["b"]
