"""The main job, end to end, as a user runs it: real stages, DVC, Prefect, MLflow, Great Expectations on real images."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from tests.project import QUICK, Project, checkout

QUICKLY = [part for assignment in QUICK for part in ("--set", assignment)]
STAGES = ["ingest", "validate", "curate", "augment", "pretrain", "distill", "finetune", "evaluate"]


def outputs(project: Project) -> dict[str, str]:
    """Every output DVC knows, with its hash."""
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One undisturbed run, shared by the tests that only look at it."""
    project = checkout(tmp_path_factory.mktemp("finished"))
    project.printed = project.rootstock("run", *QUICKLY)
    return project


def versions(project: Project) -> list[tuple[str, int]]:
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as store:
        return store.execute("select name, version from model_versions order by name, version").fetchall()


def champion(project: Project) -> list[tuple[int]]:
    query = "select version from registered_model_aliases where name = 'rootstock-classifier' and alias = 'champion'"
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as store:
        return store.execute(query).fetchall()


def test_one_command_makes_a_promoted_model_and_a_report(finished: Project) -> None:
    assert [stage for stage in STAGES if stage not in finished.printed] == []
    assert len(champion(finished)) == 1
    page = (finished.root / "reports/evaluate/index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "pretrain" in page.lower()


def test_a_second_run_trains_nothing_and_makes_no_version(finished: Project) -> None:
    before, hashes = versions(finished), outputs(finished)
    printed = finished.rootstock("run")
    assert printed.lower().count("cached") >= len(STAGES)
    assert versions(finished) == before
    assert outputs(finished) == hashes


def test_two_directories_give_byte_identical_outputs(finished: Project, tmp_path: Path) -> None:
    other = checkout(tmp_path)
    other.rootstock("run", *QUICKLY)
    assert outputs(other) == outputs(finished)
    assert {path.split("/")[0] for path in outputs(other)} == {"data", "metrics", "models", "reports"}


def children_of(project: Project) -> list[int]:
    """Processes whose working directory lies in the project."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if (entry / "cwd").readlink().is_relative_to(project.root):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_killed_during_every_stage_it_completes_with_the_same_outputs(finished: Project, tmp_path: Path) -> None:
    project, draw = checkout(tmp_path), random.Random(0)
    arguments = QUICKLY
    for stage in STAGES:
        process = project.start("run", *arguments)
        arguments = []
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        events = project.root / ".rootstock"
        deadline = time.monotonic() + 120
        while not any(f'"stage": "{stage}"' in file.read_text() for file in events.rglob("*.jsonl")):
            assert process.poll() is None, f"ended before {stage} began"
            assert time.monotonic() < deadline, f"{stage} never began"
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1)
        assert children_of(project) == [], f"processes outlived the run that was killed in {stage}"
        shutil.rmtree(events / "events", ignore_errors=True)
    project.rootstock("run")
    assert outputs(project) == outputs(finished)
    assert len(champion(project)) == 1


def test_lineage_goes_from_the_champion_to_the_source(finished: Project) -> None:
    printed = finished.rootstock("lineage", "rootstock-classifier@champion")
    for path in ("models/finetuned", "models/distilled", "models/pretrained", "data/curated", "data/pool"):
        assert path in printed
    hashes = outputs(finished)
    assert hashes["models/finetuned"].removesuffix(".dir")[:8] in printed
    assert "digits" in printed


def test_predict_agrees_with_the_evaluated_model(finished: Project, tmp_path: Path) -> None:
    manifest = pd.read_parquet(finished.root / "data/curated/manifest.parquet")
    evaluated = pd.read_parquet(finished.root / "reports/evaluate/predictions.parquet").set_index("id")
    chosen = manifest[manifest.id.isin(evaluated.index)].drop_duplicates("id").head(12)
    digits = load_digits().images
    for row in chosen.itertuples():
        number = int("".join(character for character in str(row.uri) if character.isdigit()))
        Image.fromarray((digits[number] * 255 / 16).round().astype("uint8")).save(tmp_path / f"{row.id}.png")
    table = tmp_path / "predictions.csv"
    finished.rootstock("predict", "rootstock-classifier@champion", str(tmp_path), "--csv", str(table))
    predicted = pd.read_csv(table, dtype=str)
    assert len(predicted) == len(chosen)
    for row in predicted.itertuples():
        assert evaluated.loc[Path(str(row.image)).stem, "predicted"] == row.label


def test_nothing_is_a_pickle(finished: Project) -> None:
    """By content: a pickle of protocol 2 and above begins with 0x80 and its protocol number."""
    suffixes, magic = {".pkl", ".pickle", ".pt", ".pth"}, {bytes([0x80, protocol]) for protocol in (2, 3, 4, 5)}
    suspects = []
    for folder in ("data", "models", "metrics", "reports", "mlruns", ".rootstock"):
        for file in (finished.root / folder).rglob("*"):
            if file.is_file() and (file.suffix in suffixes or file.read_bytes()[:2] in magic):
                suspects.append(file)
    assert [file for file in suspects if "pixels" not in file.parts] == []


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


def test_metrics_say_what_the_registered_version_scored(finished: Project) -> None:
    scored = json.loads((finished.root / "metrics/evaluate.json").read_text())["finetuned"]
    predictions = pd.read_parquet(finished.root / "reports/evaluate/predictions.parquet")
    accuracy = (predictions.label == predictions.predicted).mean()
    assert scored["accuracy"] == pytest.approx(accuracy, abs=1e-5)
    assert scored["low"] <= accuracy <= scored["high"]
