"""Pretraining from given weights: loaded before training, recorded, and used as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flows.registry import start_files
from stages.core import paths
from stages.core.errors import ConfigError, DataError
from stages.core.image.backbones import create_backbone
from stages.core.models.artifact import load_encoder
from stages.core.starts import cached, described
from stages.pretrain.__main__ import main
from tests.pretrain.pretraining import quick
from tests.support.transfer import run_stage, write_project

NETWORK = "test_efficientnet"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, and weights that are not those of its seed."""
    monkeypatch.chdir(tmp_path)
    write_project(count=160)
    body = create_backbone(NETWORK, 1, 16, 99, "half").body
    save_file(body.state_dict(), tmp_path / "w.safetensors")
    return Path("w.safetensors")


def laid_out(**changes: object):
    params = quick(pretrain__control=None, pretrain__start="file:w.safetensors", **changes)
    start_files.materialise(params)
    return params


def test_none_uses_the_start_as_it_is_and_records_it(weights: Path) -> None:
    events = run_stage(main, laid_out(pretrain__method="none"))
    made = load_encoder(paths.PRETRAINED)
    given = load_file(weights)
    assert all(
        torch.equal(given[name], now) for name, now in made.backbone.body.state_dict().items()
    )
    digest = json.loads(paths.START.read_text())["sha256"]
    assert made.config["start"]["sha256"] == digest
    assert made.config["start"]["fraction"] == 1.0
    told = {
        key: value
        for event in events
        if event["kind"] == "params"
        for key, value in event["values"].items()
    }
    assert told["pretrained.start.sha256"] == digest
    assert json.loads((paths.START_ENCODER / "config.json").read_text())["kind"] == "none"


def test_training_goes_on_from_the_start_and_keeps_it_beside(weights: Path) -> None:
    normalisation = {"mean": [0.5], "std": [0.25]}
    run_stage(
        main, laid_out(pretrain__start_normalisation=normalisation, pretrain__learning_rate=1e-9)
    )
    start, made = load_encoder(paths.START_ENCODER), load_encoder(paths.PRETRAINED)
    given = load_file(weights)
    for name, now in start.backbone.body.state_dict().items():
        assert torch.equal(given[name], now)
    for name, now in made.backbone.body.named_parameters():  # such a rate changes next to nothing
        torch.testing.assert_close(now, given[name], atol=1e-5, rtol=0)
    assert made.preprocess.mean == start.preprocess.mean == (0.5,)
    assert made.config["method"] == "simclr"


def test_a_file_that_changed_after_planning_and_a_run_without_planning_are_refused(
    weights: Path,
) -> None:
    params = laid_out(pretrain__method="none")
    before = paths.START.read_bytes()
    save_file({"a": torch.ones(1)}, weights)
    with pytest.raises(DataError, match="has changed since the run was planned"):
        run_stage(main, params)
    start_files.materialise(params)
    assert paths.START.read_bytes() != before  # which makes pretrain stale
    paths.START.unlink()
    with pytest.raises(ConfigError, match="rootstock run does it"):
        run_stage(main, params)


def test_none_without_weights_and_a_start_of_no_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.start is random"):
        quick(pretrain__method="none")
    with pytest.raises(ConfigError, match="did you mean 'timm:'"):
        quick(pretrain__start="tim:resnet18")


def test_public_weights_come_from_the_cache_alone_with_their_normalisation(weights: Path) -> None:
    start = f"timm:{NETWORK}.r160_in1k"
    params = quick(
        pretrain__start=start,
        pretrain__method="none",
        pretrain__backbone="auto",
        pretrain__control=None,
    )
    with pytest.raises(ConfigError, match=rf"rootstock weights get {start}"):
        start_files.materialise(params)
    cached(start).parent.mkdir(parents=True)
    weights.rename(cached(start))
    about = {
        "sha256": "0" * 64,
        "licence": "apache-2.0",
        "origin": "a test",
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2] * 3,
    }
    described(start).write_text(json.dumps(about))
    with pytest.raises(DataError, match="is not what was fetched"):
        start_files.materialise(params)
    about["sha256"] = start_files._sha256(cached(start))
    described(start).write_text(json.dumps(about))
    start_files.materialise(params)
    run_stage(main, params)
    made = load_encoder(paths.PRETRAINED)
    assert made.backbone.name == NETWORK
    assert made.preprocess.mean == pytest.approx((0.5,))
    assert made.config["start"]["licence"] == "apache-2.0"
