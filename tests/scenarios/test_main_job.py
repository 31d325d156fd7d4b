"""The main job, end to end, as a user runs it: real stages, DVC, Prefect, MLflow, Great
Expectations on real images.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.support.checkout import Project

STAGES = ["ingest", "validate", "curate", "augment", "pretrain", "distill", "finetune", "evaluate"]


def versions(project: Project) -> list[tuple[str, int]]:
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as store:
        return store.execute(
            "select name, version from model_versions order by name, version"
        ).fetchall()


def test_one_command_makes_a_promoted_model_and_a_report(finished: Project) -> None:
    assert [stage for stage in STAGES if stage not in finished.printed] == []
    assert len(finished.champion()) == 1
    page = (finished.root / "reports/evaluate/index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "pretrain" in page.lower()


def test_a_second_run_trains_nothing_and_makes_no_version(finished: Project) -> None:
    before, hashes = versions(finished), finished.outputs()
    printed = finished.rootstock("run")
    assert printed.lower().count("cached") >= len(STAGES)
    assert versions(finished) == before
    assert finished.outputs() == hashes


def test_lineage_goes_from_the_champion_to_the_source(finished: Project) -> None:
    printed = finished.rootstock("lineage", "rootstock-classifier@champion")
    for path in (
        "models/finetuned",
        "models/distilled",
        "models/pretrained",
        "data/curated",
        "data/pool",
    ):
        assert path in printed
    hashes = finished.outputs()
    assert hashes["models/finetuned"].removesuffix(".dir")[:8] in printed
    assert "digits" in printed


def test_predict_agrees_with_the_evaluated_model(finished: Project, tmp_path: Path) -> None:
    manifest = pd.read_parquet(finished.root / "data/curated/manifest.parquet")
    evaluated = pd.read_parquet(finished.root / "reports/evaluate/predictions.parquet").set_index(
        "id"
    )
    chosen = manifest[manifest.id.isin(evaluated.index)].drop_duplicates("id").head(12)
    digits = load_digits().images
    for row in chosen.itertuples():
        number = int("".join(character for character in str(row.uri) if character.isdigit()))
        Image.fromarray((digits[number] * 255 / 16).round().astype("uint8")).save(
            tmp_path / f"{row.id}.png"
        )
    table = tmp_path / "predictions.csv"
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    printed = finished.rootstock(
        "predict", "rootstock-classifier@champion", str(tmp_path), "--csv", str(table), code=2
    )
    assert "gone.png: cannot be read: No such file or directory" in printed, (
        "named, and the others are answered"
    )
    predicted = pd.read_csv(table, dtype=str)
    assert len(predicted) == len(chosen)
    for row in predicted.itertuples():
        assert evaluated.loc[Path(str(row.image)).stem, "predicted"] == row.label


def test_nothing_is_a_pickle(finished: Project) -> None:
    """By content: a pickle of protocol 2 and above begins with 0x80 and its protocol number."""
    suffixes, magic = (
        {".pkl", ".pickle", ".pt", ".pth"},
        {bytes([0x80, protocol]) for protocol in (2, 3, 4, 5)},
    )
    suspects = []
    for folder in ("data", "models", "metrics", "reports", "mlruns", ".rootstock"):
        for file in (finished.root / folder).rglob("*"):
            if file.is_file() and (file.suffix in suffixes or file.read_bytes()[:2] in magic):
                suspects.append(file)
    assert [file for file in suspects if "pixels" not in file.parts] == []


def test_metrics_say_what_the_registered_version_scored(finished: Project) -> None:
    scored = json.loads((finished.root / "metrics/evaluate.json").read_text())["finetuned"]
    predictions = pd.read_parquet(finished.root / "reports/evaluate/predictions.parquet")
    accuracy = (predictions.label == predictions.predicted).mean()
    assert scored["accuracy"] == pytest.approx(accuracy, abs=1e-5)
    assert scored["low"] <= accuracy <= scored["high"]
