"""Fine-tuning: every candidate is trained, validation decides, one class artifact that calls its
classes by name.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError, DataError
from stages.core.image.pixel_store import PixelStore
from stages.core.io import read_csv, read_json, write_json
from stages.core.metrics.linear_probe import fit_linear
from stages.core.metrics.representation import embed
from stages.core.models.artifact import load_classifier, load_encoder, save_model
from stages.core.training.loop import History
from stages.core.transfer.finetune import better
from stages.finetune.__main__ import main
from stages.finetune.results import curve
from tests.support.transfer import left_by, run_stage, small_params, write_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_project()
    return tmp_path


def relabel(**changes: object) -> None:
    """Rewrite the labels of a split, ``train="3"`` or ``train=None``."""
    manifest = Manifest.read(paths.CURATED_MANIFEST)
    for split, label in changes.items():
        manifest.frame.loc[manifest.frame["split"] == split, "label"] = label
    manifest.write(paths.CURATED_MANIFEST)


def called(row: dict[str, str]) -> str:
    """Return ``full from pretrained``, as metrics and sentences call a candidate."""
    return f"{row['method']} from {row['encoder']}" if row["encoder"] else row["method"]


def test_validation_decides_and_the_artifact_is_the_winner(project: Path) -> None:
    run_stage(main, small_params())
    rows = read_csv(paths.reports("finetune") / "candidates.csv")
    candidates = {called(row): row for row in rows if not row["note"]}
    assert set(candidates) == {
        "scratch",
        "linear from pretrained",
        "full from pretrained",
        "propagated from pretrained",
        "linear from distilled",
        "propagated from distilled",
        "full from distilled",
    }
    accuracy = {name: float(row["validation_accuracy"]) for name, row in candidates.items()}
    picked = json.loads(paths.metrics("finetune").read_text())["picked"]
    assert accuracy[picked] == max(accuracy.values())
    assert [called(row) for row in rows if row["picked"] == "true"] == [picked]
    classifier, manifest = load_classifier(paths.FINETUNED), Manifest.read(paths.CURATED_MANIFEST)
    assert classifier.classes == [str(digit) for digit in range(10)]
    method, _, encoder = picked.partition(" from ")
    assert (classifier.config["method"], classifier.config["encoder_name"]) == (method, encoder)
    held = manifest.labelled_rows("val")
    answers = classifier.predict_proba(PixelStore.open().gather(held)).numpy()
    assert (answers.argmax(axis=1) == manifest.labels(held)).mean() == pytest.approx(
        accuracy[picked], abs=1e-5
    )


def test_the_control_from_labels_alone_is_kept_whatever_ships(project: Path) -> None:
    run_stage(main, small_params(finetune__candidates=["linear"]))
    assert load_classifier(paths.FINETUNED).config["method"] == "linear"
    control, manifest = load_classifier(paths.SCRATCH), Manifest.read(paths.CURATED_MANIFEST)
    assert (control.config["method"], control.classes) == ("scratch", manifest.classes)
    held = manifest.labelled_rows("val")
    answers = control.predict_proba(PixelStore.open().gather(held)).numpy()
    found = json.loads(paths.metrics("finetune").read_text())["scratch"]["accuracy"]
    assert (answers.argmax(axis=1) == manifest.labels(held)).mean() == pytest.approx(found)


def test_an_encoder_that_is_no_use_is_not_started_from(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remark(paths.PRETRAINED, useful=False)
    run_stage(main, small_params())
    rows = read_csv(paths.reports("finetune") / "candidates.csv")
    assert {row["method"] for row in rows} == {"scratch"}
    shipped = load_classifier(paths.FINETUNED).config
    assert (shipped["method"], shipped["encoder"]) == ("scratch", None)
    assert "finetune: trained from labels alone" in capsys.readouterr().out
    shipped_bytes, control_bytes = (
        (directory / "weights.safetensors").read_bytes()
        for directory in (paths.FINETUNED, paths.SCRATCH)
    )
    assert shipped_bytes == control_bytes, "there is one network from labels alone"


def test_a_teacher_passed_on_is_not_tried_twice(project: Path) -> None:
    remark(paths.DISTILLED, student=False)
    run_stage(main, small_params())
    rows = read_csv(paths.reports("finetune") / "candidates.csv")
    assert {row["encoder"] for row in rows} == {"", "pretrained"}


def test_labels_alone_win_where_the_encoder_is_harmful_and_the_run_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An encoder that gives every image the same features: what labels that are noise to the
    images' look leave of pretraining.
    """
    for directory in (paths.PRETRAINED, paths.DISTILLED):
        blind(directory)
    run_stage(main, small_params(finetune__candidates=["linear", "scratch"], finetune__steps=60))
    found = json.loads(paths.metrics("finetune").read_text())
    assert found["picked"] == "scratch"
    assert found["scratch"]["accuracy"] > found["linear"]["accuracy"] + 0.2
    assert load_classifier(paths.FINETUNED).config["method"] == "scratch"
    said = capsys.readouterr().out
    assert "kept scratch: on these images labels alone do as well" in said


def remark(directory: Path, **changes: object) -> None:
    """Rewrite entries of an encoder's ``config.json``."""
    file = directory / "config.json"
    write_json(file, {**read_json(file), **changes})


def blind(directory: Path) -> None:
    """Give an encoder weights of zero: it sees nothing."""
    encoder = load_encoder(directory)
    with torch.no_grad():
        for weight in encoder.backbone.parameters():
            weight.zero_()
    save_model(directory, encoder.backbone, {"method": "none"}, encoder.preprocess)


def test_a_row_of_steps_whose_loss_was_no_number_leaves_an_empty_cell() -> None:
    """The last steps of a run may be such a row: that must not cost the run."""
    history = History(
        rows=[
            {"step": 10, "loss": 0.5, "accuracy": 1.0, "learning_rate": 0.1},
            {"step": 11, "learning_rate": 0.1},
        ]
    )
    assert list(curve(history)[1]) == [["10", "0.5", "1", "0.1"], ["11", "", "", "0.1"]]


def test_the_linear_candidate_is_the_probe_on_the_encoders_features(project: Path) -> None:
    run_stage(main, small_params())
    manifest, store, encoder = (
        Manifest.read(paths.CURATED_MANIFEST),
        PixelStore.open(),
        load_encoder(paths.DISTILLED),
    )
    rows, held = manifest.labelled_rows("train"), manifest.labelled_rows("val")
    probe = fit_linear(
        embed(encoder, store, rows),
        manifest.labels(rows),
        embed(encoder, store, held),
        manifest.labels(held),
        10,
    )
    rows = read_csv(paths.reports("finetune") / "candidates.csv")
    linear = next(row for row in rows if called(row) == "linear from distilled")
    assert float(linear["validation_accuracy"]) == pytest.approx(
        probe.validation_accuracy, abs=1e-5
    )


def test_equal_accuracy_is_settled_by_the_lower_loss() -> None:
    from stages.core.transfer.finetune import Candidate

    sure, unsure = (
        Candidate(name, None, 0.9, loss, "", History())
        for name, loss in (("full", 0.2), ("linear", 0.4))
    )  # type: ignore[arg-type]
    assert better(unsure, sure) is sure and better(sure, unsure) is sure


def test_two_runs_in_two_directories_are_byte_identical(tmp_path: Path) -> None:
    assert left_by(main, small_params(), tmp_path / "one") == left_by(
        main, small_params(), tmp_path / "two"
    )
    assert not list((tmp_path / "two" / paths.RESUME).glob("*"))


def test_two_labelled_images_are_enough_to_run(project: Path) -> None:
    manifest = Manifest.read(paths.CURATED_MANIFEST)
    train = manifest.labelled_rows("train")
    digits = manifest.frame["label"].iloc[train]
    keep = {digits[digits == digit].index[0] for digit in ("0", "1")}
    manifest.frame.loc[[row for row in train if row not in keep], ["split", "label"]] = [
        "none",
        None,
    ]
    manifest.write(paths.CURATED_MANIFEST)
    run_stage(main, small_params())
    assert np.isfinite(json.loads(paths.metrics("finetune").read_text())["full"]["log_loss"])


def test_one_class_no_labels_and_no_validation_are_one_clear_line_each(project: Path) -> None:
    relabel(train="3")
    with pytest.raises(ConfigError, match="every labelled train image is of the class '3'"):
        run_stage(main, small_params())
    relabel(train=None)
    with pytest.raises(
        ConfigError, match=r"no train image has a label: raise ingest.labelled_fraction"
    ):
        run_stage(main, small_params())
    relabel(train="3", val=None)
    manifest = Manifest.read(paths.CURATED_MANIFEST)
    manifest.frame.loc[manifest.labelled_rows("train")[:5], "label"] = "4"
    manifest.write(paths.CURATED_MANIFEST)
    with pytest.raises(
        ConfigError, match=r"no val image has a label: raise ingest.validation_fraction"
    ):
        run_stage(main, small_params())
    relabel(train=None, test=None)
    with pytest.raises(DataError, match="no image has a label"):
        run_stage(main, small_params())
