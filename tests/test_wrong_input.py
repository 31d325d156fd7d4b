"""Damaged images are named and the run completes; a wrong call is one line and changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.project import QUICKLY, Project


def digits_folder(folder: Path, per_class: int = 40) -> list[Path]:
    """Class folders of real digits as PNG files."""
    data = load_digits()
    written = []
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
        for number, image in enumerate(data.images[data.target == label][:per_class]):
            path = folder / str(label) / f"{number:03}.png"
            Image.fromarray((image * 255 / 16).round().astype("uint8")).resize((24, 24), Image.Resampling.BICUBIC).save(path)
            written.append(path)
    return written


def test_a_damaged_folder_is_told_image_by_image_and_the_run_completes(project: Project, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("images") / "mine"
    files = digits_folder(folder)
    damaged, copies = files[::20], files[5::8]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:60])
    for path in copies:
        shutil.copy(path, path.with_name(f"copy-of-{path.name}"))
    project.rootstock("run", *QUICKLY, "--set", f"ingest.source=folder:{folder}", "--set", "validate.max_quarantined=0.1")
    manifest = pd.read_parquet(project.root / "data/curated/manifest.parquet")
    quarantined = manifest[manifest.status == "quarantined"]
    assert {Path(uri).name for uri in quarantined.uri} == {path.name for path in damaged}
    assert len(quarantined) == len(damaged)
    assert (quarantined.reason.str.len() > 0).all()
    duplicates = manifest[(manifest.status == "ok") & ~manifest.keep & manifest.reason.str.contains("cop|duplicate", case=False)]
    assert len(duplicates) >= len(copies)
    assert len(manifest) == len(files) + len(copies)


def refused(project: Project, *arguments: str, **extra: str) -> str:
    """The command must end with exit code 2 and one line, and change nothing."""
    before = {file: file.read_bytes() for file in project.root.rglob("*") if file.is_file() and ".git" not in file.parts}
    printed = project.rootstock(*arguments, code=2, **extra).strip()
    after = {file: file.read_bytes() for file in project.root.rglob("*") if file.is_file() and ".git" not in file.parts}
    changed = {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}
    assert {file for file in changed if "__pycache__" not in file.parts} == set()
    assert len(printed.splitlines()) == 1, printed
    return printed


def test_what_is_wrong_is_one_line_and_changes_nothing(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    images = tmp_path_factory.mktemp("images")
    (images / "empty").mkdir()
    (images / "single/cat").mkdir(parents=True)
    Image.new("L", (16, 16), 128).save(images / "single/cat/1.png")
    assert "pretrain.epoch" in refused(project, "run", "--set", "pretrain.epoch=3")
    assert "simclr" in refused(project, "run", "--set", "pretrain.method=simclear")
    assert str(images / "nowhere") in refused(project, "run", "--set", f"ingest.source=folder:{images / 'nowhere'}")
    assert str(images / "empty") in refused(project, "run", "--set", f"ingest.source=folder:{images / 'empty'}")
    assert "one class" in refused(project, "run", "--set", f"ingest.source=folder:{images / 'single'}")
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
