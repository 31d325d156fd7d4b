"""Distillation: a student of at most half the size that says what its teacher says, the same bytes
every time.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError
from stages.core.image.backbones import check_size, create_backbone
from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.io import read_csv
from stages.core.metrics.representation import embed, normalise
from stages.core.models.artifact import Encoder, load_encoder
from stages.core.plugins import names
from stages.core.training.loop import _Run
from stages.distill.__main__ import main
from stages.distill.distillation import METHODS, create_method
from stages.distill.inputs import batch_size, create_student
from stages.distill.methods.regression import regression_loss
from stages.distill.methods.similarity import similarity_loss
from stages.distill.results import explained
from tests.support.transfer import (
    STUDENT,
    TEACHER,
    left_by,
    run_stage,
    small_params,
    write_project,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_project()
    return tmp_path


def test_loss_is_the_squared_distance_of_unit_vectors() -> None:
    rng = np.random.default_rng(0)
    predicted, target = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    cosines = [p @ t / np.sqrt((p @ p) * (t @ t)) for p, t in zip(predicted, target, strict=True)]
    expected = np.mean([2 - 2 * cosine for cosine in cosines])
    assert regression_loss(torch.tensor(predicted), torch.tensor(target)).item() == pytest.approx(
        expected
    )


def test_similarity_loss_is_the_cross_entropy_of_a_loop_over_neighbours() -> None:
    rng = np.random.default_rng(0)
    predicted, target = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    queue = rng.normal(size=(6, 5))
    queue /= np.linalg.norm(queue, axis=1, keepdims=True)
    losses = []
    for student, teacher in zip(predicted, target, strict=True):
        student, teacher = student / np.linalg.norm(student), teacher / np.linalg.norm(teacher)
        places = [teacher, *queue]
        wanted = np.exp([teacher @ place / 0.05 for place in places])
        found = np.exp([student @ place / 0.2 for place in places])
        wanted, found = wanted / wanted.sum(), found / found.sum()
        losses.append(-sum(p * np.log(q) for p, q in zip(wanted, found, strict=True)))
    tensors = (torch.tensor(each) for each in (predicted, target, queue))
    assert similarity_loss(*tensors, 0.2, 0.05).item() == pytest.approx(np.mean(losses))


def test_a_setting_that_a_method_does_not_know_is_refused() -> None:
    networks = [create_backbone("test_efficientnet", 1, 16, seed) for seed in (0, 1)]
    with pytest.raises(ConfigError, match=r"distill\.settings"):
        create_method("similarity", {"queu": 10}, *networks, seed=0)
    with pytest.raises(ConfigError, match="similarity"):
        create_method("similarty", {}, *networks, seed=0)


def test_a_linear_image_of_the_features_is_explained_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(400, 6)).astype(np.float32)
    turned = (normalise(base) @ rng.normal(size=(6, 6))).astype(np.float32)
    noise = rng.normal(size=(400, 6)).astype(np.float32)
    assert explained(base[:300], turned[:300], base[300:], turned[300:])["cosine"] > 0.9
    assert explained(base[:300], base[:300], base[300:], base[300:])["r2"] == pytest.approx(
        1, abs=1e-2
    )
    assert abs(explained(noise[:300], turned[:300], noise[300:], turned[300:])["r2"]) < 0.1


def test_a_student_over_half_the_size_is_refused_with_both_counts() -> None:
    teacher, student = (
        create_backbone("test_byobnet", 1, 16, 0),
        create_backbone("test_nfnet", 1, 16, 0),
    )
    with pytest.raises(
        ConfigError, match=f"{student.parameter_count:,} parameters .* {teacher.parameter_count:,}"
    ):
        check_size(student, teacher)


@pytest.mark.parametrize("method", names(METHODS))
def test_the_teacher_stays_as_it_was_and_out_of_the_checkpoint(method: str) -> None:
    teacher, student = (
        create_backbone("test_byobnet", 1, 16, 0),
        create_backbone("test_efficientnet", 1, 16, 1),
    )
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    module = create_method(method, {}, student, teacher, seed=0).train()
    assert not teacher.training
    parts = {name.split(".")[0] for name in module.state_dict()}
    assert {"student", "head"} <= parts <= {"student", "head", "queue"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_batches_are_sized_to_the_data() -> None:
    assert [batch_size("auto", images) for images in (50, 1169, 5000, 1_000_000)] == [
        32,
        64,
        256,
        256,
    ]
    assert batch_size(48, 10) == 48


@pytest.mark.parametrize("method", names(METHODS))
def test_the_student_comes_to_say_what_the_teacher_says(project: Path, method: str) -> None:
    events = run_stage(main, small_params(distill__epochs=6, distill__method=method))
    found = json.loads(paths.metrics("distill").read_text())
    teacher, student = (
        load_encoder(paths.PRETRAINED).backbone,
        load_encoder(paths.DISTILLED).backbone,
    )
    assert (found["parameters"], found["teacher_parameters"]) == (
        student.parameter_count,
        teacher.parameter_count,
    )
    assert found["share"] < 0.5
    assert 0 < found["knn"] <= 1 and 0 < found["teacher_knn"] <= 1
    cosines = [float(row["cosine"]) for row in read_csv(paths.reports("distill") / "curve.csv")]
    assert cosines[-1] > cosines[0] + 0.1
    assert [event for event in events if event["kind"] == "progress"]
    assert not list(paths.RESUME.glob("*"))


def label_by_teacher() -> None:
    """Give every labelled image the cluster of its teacher's features as its label: a student that
    has learned nothing yet cannot know them as well.
    """
    manifest, teacher = Manifest.read(paths.CURATED_MANIFEST), load_encoder(paths.PRETRAINED)
    rows = np.flatnonzero(manifest.frame["label"].notna())
    features = normalise(embed(teacher, PixelStore.open(), rows))
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    clusters = KMeans(8, n_init=3, random_state=0).fit_predict(features)
    manifest.frame.loc[rows, "label"] = [str(cluster) for cluster in clusters]
    manifest.write(paths.CURATED_MANIFEST)


def test_a_student_worse_than_its_teacher_is_not_shipped(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label_by_teacher()
    run_stage(main, small_params(distill__learning_rate=1e-6))
    found = json.loads(paths.metrics("distill").read_text())
    assert found["kept"] == "teacher"
    assert found["knn_difference"]["high"] < 0
    assert found["knn"] < found["teacher_knn"]
    teacher, distilled = load_encoder(paths.PRETRAINED), load_encoder(paths.DISTILLED)
    assert distilled.config["student"] is False
    assert distilled.config["why"] == found["why"]
    assert distilled.backbone.name == teacher.backbone.name == TEACHER
    assert all(
        torch.equal(tensor, distilled.backbone.state_dict()[name])
        for name, tensor in teacher.backbone.state_dict().items()
    )
    said = capsys.readouterr().out
    assert "points of kNN accuracy on validation (95 % interval" in said
    assert "so the pretrained encoder goes on; distill.required=true keeps the student" in said
    assert not list(paths.RESUME.glob("*"))


def test_a_student_that_is_required_is_shipped_whatever_it_loses(project: Path) -> None:
    label_by_teacher()
    run_stage(main, small_params(distill__learning_rate=1e-6, distill__required=True))
    found = json.loads(paths.metrics("distill").read_text())
    assert found["knn_difference"]["high"] < 0
    assert found["kept"] == "student"
    distilled = load_encoder(paths.DISTILLED)
    assert (distilled.config["student"], distilled.backbone.name) == (True, STUDENT)


def test_a_student_within_the_interval_of_its_teacher_is_shipped(project: Path) -> None:
    run_stage(main, small_params())
    found = json.loads(paths.metrics("distill").read_text())
    assert found["knn_difference"]["high"] >= 0
    assert found["kept"] == "student"
    assert load_encoder(paths.DISTILLED).config["student"] is True


def test_without_a_backbone_the_encoder_goes_on_as_it_is(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_stage(main, small_params(distill__backbone=None))
    assert json.loads(paths.metrics("distill").read_text())["kept"] == "teacher"
    distilled = load_encoder(paths.DISTILLED)
    assert (distilled.config["student"], distilled.backbone.name) == (False, TEACHER)
    assert read_csv(paths.reports("distill") / "curve.csv") == []
    weights = [
        (directory / "weights.safetensors").read_bytes()
        for directory in (paths.PRETRAINED, paths.DISTILLED)
    ]
    assert weights[0] == weights[1]
    assert "the pretrained encoder goes on as it is" in capsys.readouterr().out


def test_a_student_has_the_stem_of_its_teacher() -> None:
    preprocess = Preprocess(size=64, channels=1, mean=(0.5,), std=(0.25,))
    teacher = Encoder(create_backbone("resnet10t", 1, 64, 0, "standard"), preprocess, {})
    assert create_student("resnet10t@0.5", 0, teacher, teacher).stem == "standard"


STEP = _Run._step


def dies_at_step_four(run: _Run, number: int) -> None:
    """What a kill between two steps leaves behind."""
    if number == 4:
        run._checkpoint(number)
        raise KeyboardInterrupt
    STEP(run, number)


def test_in_two_directories_and_killed_halfway_in_one_it_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = small_params(distill__epochs=2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_Run, "_step", dies_at_step_four)
        left_by(main, params, tmp_path / "killed")
    assert left_by(main, params, tmp_path / "whole") == left_by(main, params, tmp_path / "killed")
