"""A wrong call is one line and changes nothing."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from benchmarks.support.checkout import Project


def refused(project: Project, *arguments: str, **extra: str) -> str:
    """The command must end with exit code 2 and one line, and change nothing."""
    before = {
        file: file.read_bytes()
        for file in project.root.rglob("*")
        if file.is_file() and ".git" not in file.parts
    }
    printed = project.rootstock(*arguments, code=2, **extra).strip()
    after = {
        file: file.read_bytes()
        for file in project.root.rglob("*")
        if file.is_file() and ".git" not in file.parts
    }
    changed = {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}
    assert {
        file for file in changed if "__pycache__" not in file.parts and file.name != "params.lock"
    } == set()
    assert len(printed.splitlines()) == 1, printed
    return printed


def test_what_is_wrong_is_one_line_and_changes_nothing(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    images = tmp_path_factory.mktemp("images")
    (images / "empty").mkdir()
    (images / "single/cat").mkdir(parents=True)
    Image.new("L", (16, 16), 128).save(images / "single/cat/1.png")
    assert "pretrain.epoch" in refused(project, "run", "--set", "pretrain.epoch=3")
    assert "simclr" in refused(project, "run", "--set", "pretrain.method=simclear")
    assert str(images / "nowhere") in refused(
        project, "run", "--set", f"ingest.source=folder:{images / 'nowhere'}"
    )
    assert str(images / "empty") in refused(
        project, "run", "--set", f"ingest.source=folder:{images / 'empty'}"
    )
    assert "one class" in refused(
        project, "run", "--set", f"ingest.source=folder:{images / 'single'}"
    )
    file = project.root / "params.yaml"
    text = file.read_text()
    file.write_text(text.replace("  epochs:", "  epoch:", 1))
    assert "did you mean 'epochs'" in refused(project, "run")
    file.write_text(text)
    shutil.rmtree(project.root / "mlruns")
    (project.root / "mlruns").write_text("in the way")
    assert "mlruns" in refused(project, "run")


def test_without_a_git_repository_it_says_so(project: Project) -> None:
    shutil.rmtree(project.root / ".git")
    assert "git" in refused(project, "run")
