"""The stage as it runs: one table, one page that needs nothing else, the same bytes in any
directory.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError, DataError
from stages.core.image.pixel_store import PixelStore
from stages.core.io import read_csv
from stages.core.metrics.representation import embed
from stages.core.models.artifact import load_classifier
from stages.evaluate.__main__ import main as evaluate
from stages.finetune.__main__ import main as finetune
from tests.support.transfer import digest, run_stage, small_params, write_project


def evaluated(directory: Path, monkeypatch: pytest.MonkeyPatch, control: bool = True) -> Path:
    directory.mkdir()
    monkeypatch.chdir(directory)
    write_project(300, control=control)
    run_stage(finetune, small_params())
    run_stage(evaluate, small_params())
    return directory


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same project evaluated in two directories."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("evaluate")
        return evaluated(root / "one", patch), evaluated(root / "two", patch)


@pytest.fixture
def project(runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(runs[0])
    return runs[0]


def test_two_directories_give_the_same_bytes(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for directory in runs:
        monkeypatch.chdir(directory)
        seen.append(digest(Path("reports/evaluate"), Path("metrics"), Path("models/finetuned")))
    assert seen[0] == seen[1]
    assert len([name for name in seen[0] if name.startswith("reports/evaluate")]) == 6


def test_every_model_is_there_with_an_interval(project: Path) -> None:
    rows = read_csv(paths.reports("evaluate") / "table.csv")
    there = {(row["model"], row["protocol"], row["labels_per_class"]) for row in rows}
    for model in ("pixels", "random", "random-student", "control", "pretrained", "distilled"):
        assert {
            (model, way, budget) for way in ("knn", "linear") for budget in ("1", "3", "all")
        } <= there
    assert {
        (model, way, budget)
        for model, way in (("scratch", "full"), ("finetuned", "picked"))
        for budget in ("1", "3", "all")
    } <= there
    assert {
        (model, "full", budget)
        for model in ("pretrained", "distilled")
        for budget in ("1", "3", "all")
    } <= there
    assert all(float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) for row in rows)


def test_the_table_follows_from_the_tidy_results(project: Path) -> None:
    table = pd.read_csv(paths.reports("evaluate") / "table.csv", dtype={"labels_per_class": str})
    tidy = pd.read_parquet(paths.reports("evaluate") / "results.parquet")
    key = ["model", "protocol", "labels_per_class"]
    items = tidy[tidy["metric"] == "correct"]
    means = items.groupby(key)["value"].mean()
    draws = items.groupby(key)["draw"].nunique()
    for row in table.itertuples():
        place = (row.model, row.protocol, row.labels_per_class)
        assert means[place] == pytest.approx(row.accuracy, abs=1e-5)
        assert draws[place] == row.draws
    assert len(means) == len(table)
    wholes = tidy[tidy["item"].isna()]
    accuracy = wholes[wholes["metric"] == "accuracy"].groupby(key)["value"].mean()
    assert accuracy.to_dict() == pytest.approx(means.to_dict())
    answers = pd.read_parquet(paths.reports("evaluate") / "predictions.parquet")
    shipped = wholes[(wholes["model"] == "finetuned") & (wholes["labels_per_class"] == "all")]
    macro = shipped.loc[shipped["metric"] == "macro_f1", "value"].item()
    assert macro == pytest.approx(f1_score(answers["label"], answers["predicted"], average="macro"))


def test_the_registered_classifier_is_what_is_reported(project: Path) -> None:
    manifest, classifier = Manifest.read(paths.CURATED_MANIFEST), load_classifier(paths.FINETUNED)
    rows = manifest.labelled_rows("test")
    expected = classifier.predict_proba(PixelStore.open().gather(rows)).numpy()
    answers = pd.read_parquet(paths.reports("evaluate") / "predictions.parquet")
    np.testing.assert_array_equal(np.stack(answers["probabilities"].to_list()), expected)
    assert answers["id"].tolist() == manifest.frame["id"].iloc[rows].tolist()
    assert answers["predicted"].tolist() == [
        classifier.classes[best] for best in expected.argmax(axis=1)
    ]
    found = json.loads(paths.metrics("evaluate").read_text())["finetuned"]
    accuracy = float((answers["predicted"] == answers["label"]).mean())
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-5)
    assert found["low"] <= accuracy <= found["high"]
    table = read_csv(paths.reports("evaluate") / "table.csv")
    all_labels = [
        row for row in table if (row["model"], row["labels_per_class"]) == ("finetuned", "all")
    ]
    assert float(all_labels[0]["accuracy"]) == pytest.approx(accuracy, abs=1e-5)


def test_predictions_carry_what_a_gate_on_robustness_needs(project: Path) -> None:
    answers = pd.read_parquet(paths.reports("evaluate") / "predictions.parquet")
    named = [
        f"predicted_{name}_{severity}"
        for name in ("noise", "blur", "contrast")
        for severity in (1, 2, 3)
    ]
    corrupted = np.mean([(answers[name] == answers["label"]).mean() for name in named])
    found = json.loads(paths.metrics("evaluate").read_text())["finetuned"]["corrupted"]
    assert found["accuracy"] == pytest.approx(corrupted, abs=1e-5)


def test_predictions_say_which_controls_were_right_and_how_the_classifier_was_made(
    project: Path,
) -> None:
    answers = pd.read_parquet(paths.reports("evaluate") / "predictions.parquet")
    table = {
        (row["model"], row["protocol"]): float(row["accuracy"])
        for row in read_csv(paths.reports("evaluate") / "table.csv")
        if row["labels_per_class"] == "all"
    }
    for control, row in {
        "scratch": ("scratch", "full"),
        "pixels": ("pixels", "linear"),
        "random": ("random", "linear"),
        "pixels_knn": ("pixels", "knn"),
        "encoder_knn": ("pretrained", "knn"),
    }.items():
        assert answers[f"right_{control}"].mean() == pytest.approx(table[row], abs=1e-5)
    assert set(answers["method"]) == {load_classifier(paths.FINETUNED).config["method"]}
    rows = Manifest.read(paths.CURATED_MANIFEST).labelled_rows("test")
    control = load_classifier(paths.SCRATCH)
    expected = control.predict_proba(PixelStore.open().gather(rows)).argmax(dim=1)
    named = [control.classes[best] for best in expected]
    assert (answers["right_scratch"] == (answers["label"] == named)).all()


def test_a_hobbled_control_is_marked_in_the_table_the_sentences_and_the_page(
    project: Path,
) -> None:
    """Four steps where the plateau is at hundreds; a linear probe has no steps to be short of."""
    rows = read_csv(paths.reports("evaluate") / "table.csv")
    trained = [row for row in rows if row["protocol"] == "full"]
    frozen = [row for row in rows if row["protocol"] in {"knn", "linear"}]
    assert all(row["undertrained"] == "true" for row in trained)
    assert not any(row["undertrained"] == "true" for row in frozen)
    few = [row for row in rows if (row["model"], row["labels_per_class"]) == ("scratch", "1")]
    assert "its plateau is at 400" in few[0]["chosen"]
    page = (paths.reports("evaluate") / "index.html").read_text()
    count = sum(row["undertrained"] == "true" for row in rows)
    assert f"Marked rows ({count}) were trained for fewer steps" in page
    assert page.count("†</b>") == count


def test_embeddings_are_those_of_the_registered_encoder(project: Path) -> None:
    rows = Manifest.read(paths.CURATED_MANIFEST).labelled_rows("test")
    expected = embed(load_classifier(paths.FINETUNED).encoder, PixelStore.open(), rows)
    stored = pd.read_parquet(paths.reports("evaluate") / "embeddings.parquet")
    np.testing.assert_array_equal(np.stack(stored["embedding"].to_list()), expected)


def test_the_confusion_matrix_adds_up(project: Path) -> None:
    cells = read_csv(paths.reports("evaluate") / "confusion.csv")
    answers = pd.read_parquet(paths.reports("evaluate") / "predictions.parquet")
    assert sum(int(cell["count"]) for cell in cells) == len(answers)
    wrong = sum(int(cell["count"]) for cell in cells if cell["actual"] != cell["predicted"])
    assert wrong == (answers["label"] != answers["predicted"]).sum()


def test_the_page_needs_nothing_from_outside(project: Path) -> None:
    page = (paths.reports("evaluate") / "index.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)|https?://|@import|<script|<link", page)
    assert page.count("<svg") > 5 and "Did pretraining help?" in page
    for model in (
        "Raw pixels",
        "Untrained encoder",
        "Supervised from scratch",
        "Instance-classification control",
        "Shipped: best on validation",
    ):
        assert model in page
    assert not re.search(r"20\d\d-\d\d-\d\d|/tmp|nan", page)


def test_without_a_control_there_is_no_row_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(200)
    (paths.CONTROL / "config.json").write_text('{"kind": "none"}')
    run_stage(finetune, small_params())
    run_stage(evaluate, small_params(evaluate__labels_per_class=[1]))
    assert "control" not in {
        row["model"] for row in read_csv(paths.reports("evaluate") / "table.csv")
    }


def test_without_a_student_and_a_useful_encoder_labels_alone_are_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(200, control=False)
    for directory, changes in (
        (paths.PRETRAINED, {"useful": False}),
        (paths.DISTILLED, {"student": False}),
    ):
        config = directory / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    paths.CONTROL.mkdir()
    (paths.CONTROL / "config.json").write_text('{"kind": "none"}')
    run_stage(finetune, small_params())
    run_stage(evaluate, small_params(evaluate__labels_per_class=[1]))
    rows = read_csv(paths.reports("evaluate") / "table.csv")
    there = {(row["model"], row["protocol"]) for row in rows}
    assert {("pretrained", "knn"), ("scratch", "full"), ("finetuned", "picked")} <= there
    assert not there & {("pretrained", "full"), ("distilled", "knn"), ("random-student", "knn")}
    page = (paths.reports("evaluate") / "index.html").read_text()
    assert "labels alone do as well with all labels" in page


def test_few_labels_are_offered_the_candidates_that_finetune_offers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(200)
    params = small_params(finetune__candidates=["full"], evaluate__labels_per_class=[1])
    run_stage(finetune, params)
    run_stage(evaluate, params)
    rows = read_csv(paths.reports("evaluate") / "table.csv")
    picked = [row["chosen"] for row in rows if row["model"] == "finetuned"]
    assert len(picked) == 2
    assert all(chosen.startswith("full from") for chosen in picked)


def test_no_test_labels_and_a_classifier_of_other_classes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(200)
    run_stage(finetune, small_params())
    manifest = Manifest.read(paths.CURATED_MANIFEST)
    whole = manifest.frame.copy()
    manifest.frame.loc[manifest.frame["split"] == "test", "label"] = None
    manifest.write(paths.CURATED_MANIFEST)
    with pytest.raises(ConfigError, match=r"no test image has a label: raise ingest.test_fraction"):
        run_stage(evaluate, small_params())
    whole.loc[whole["label"] == "3", "label"] = "three"
    Manifest(whole).write(paths.CURATED_MANIFEST)
    with pytest.raises(DataError, match="other classes"):
        run_stage(evaluate, small_params())


def test_start_weights_are_a_row_and_the_report_says_which_of_the_two_is_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(200, control=False)
    paths.CONTROL.mkdir()
    (paths.CONTROL / "config.json").write_text('{"kind": "none"}')
    shutil.copytree(paths.PRETRAINED, paths.START_ENCODER, dirs_exist_ok=True)
    run_stage(finetune, small_params())
    run_stage(evaluate, small_params(evaluate__labels_per_class=[1]))
    rows = read_csv(paths.reports("evaluate") / "table.csv")
    found = {
        (row["model"], row["protocol"], row["labels_per_class"]): row["accuracy"] for row in rows
    }
    assert found["start", "knn", "all"] == found["pretrained", "knn", "all"]  # the same weights
    page = (paths.reports("evaluate") / "index.html").read_text()
    assert (
        "against the weights it started from, both frozen: there is no measurable difference"
        in page
    )
