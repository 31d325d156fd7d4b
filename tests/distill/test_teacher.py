"""Teachers from elsewhere: given weights teach a student on the user's images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flows.pipeline.preflight import check_choices
from flows.registry import start_files
from stages.core import paths
from stages.core.errors import ConfigError
from stages.core.image.backbones import create_backbone
from stages.core.image.preprocess import Preprocess
from stages.core.models.artifact import load_encoder
from stages.core.params import Params, load_params
from stages.distill.__main__ import main
from stages.distill.teacher import load_teacher, renormalisation
from tests.support.transfer import run_stage, small_params, write_project

NETWORK, SIZE = "test_byobnet", 16


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, and weights of a network that was not pretrained here."""
    monkeypatch.chdir(tmp_path)
    write_project(count=160)
    size = load_encoder(paths.PRETRAINED).preprocess.size
    body = create_backbone(NETWORK, 1, size, 99, "half").body
    save_file(body.state_dict(), tmp_path / "w.safetensors")
    return Path("w.safetensors")


def laid_out(**changes: object) -> Params:
    own = {"distill__teacher": "file:w.safetensors", "distill__teacher_backbone": NETWORK}
    params = small_params(**{**own, **changes})
    start_files.materialise(params)
    return params


def test_images_normalised_for_the_student_become_those_of_the_teacher() -> None:
    pixels = torch.rand(4, 3, 2, 2, dtype=torch.float64)
    student, teacher = (
        Preprocess(size=2, channels=3, mean=mean, std=std)
        for mean, std in (((0.1, 0.2, 0.3), (0.2, 0.3, 0.4)), ((0.5, 0.5, 0.4), (0.25, 0.2, 0.1)))
    )

    def normalised(images: torch.Tensor, own: Preprocess) -> torch.Tensor:
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (own.mean, own.std))
        return (images - mean) / std

    scale, shift = (part.reshape(3, 1, 1) for part in renormalisation(student, teacher))
    torch.testing.assert_close(
        normalised(pixels, student) * scale + shift, normalised(pixels, teacher)
    )


def test_the_weights_of_a_file_teach_and_are_recorded(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_stage(main, laid_out(distill__epochs=1))
    assert f"file:w.safetensors fills 100.0% of {NETWORK}, the teacher" in capsys.readouterr().out
    found = json.loads(paths.metrics("distill").read_text())
    teacher = load_teacher(laid_out(), load_encoder(paths.PRETRAINED))
    assert found["teacher_parameters"] == teacher.backbone.parameter_count
    given = load_file(weights)
    assert all(
        torch.equal(given[name], now) for name, now in teacher.backbone.body.state_dict().items()
    )
    student = load_encoder(paths.DISTILLED)
    assert student.config["teacher"]["sha256"] == json.loads(paths.TEACHER.read_text())["sha256"]
    assert student.preprocess == load_encoder(paths.PRETRAINED).preprocess


def test_a_file_that_does_not_say_its_network_is_refused(weights: Path) -> None:
    params = laid_out(distill__teacher_backbone="auto")
    with pytest.raises(ConfigError, match=r"distill\.teacher_backbone is auto"):
        load_teacher(params, load_encoder(paths.PRETRAINED))


def test_weights_of_another_network_are_refused_with_the_key(weights: Path) -> None:
    params = laid_out(distill__teacher_backbone="test_vit")
    with pytest.raises(ConfigError, match=r"distill\.teacher: w\.safetensors fills"):
        load_teacher(params, load_encoder(paths.PRETRAINED))


def test_a_missing_file_and_a_teacher_of_no_kind_are_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"distill\.teacher: file:gone"):
        start_files.check("file:gone.safetensors", key="distill.teacher")
    for teacher in ("random", "pretraind", "file:"):
        with pytest.raises(ConfigError, match=r"distill\.teacher"):
            small_params(distill__teacher=teacher)


def test_the_pretrained_encoder_needs_no_lookup(weights: Path) -> None:
    pretrained = load_encoder(paths.PRETRAINED)
    assert load_teacher(small_params(), pretrained) is pretrained


def test_settings_of_another_method_are_refused_before_anything_runs() -> None:
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    changed = params.distill.model_copy(update={"settings": {"queue": 64}})
    with pytest.raises(ConfigError, match=r"distill\.settings \(regression\)"):
        check_choices(params.model_copy(update={"distill": changed}), sources=False)
    similar = changed.model_copy(update={"method": "similarity"})
    check_choices(params.model_copy(update={"distill": similar}), sources=False)
