"""``curate.encoder: registry:NAME@ALIAS``: the flow lays the model out, its content decides whether
curate is stale.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.support.registry import answers, classifier, version
from flows.adapters.mlflow.store import Store
from flows.registry import encoder_files
from flows.registry.versions import CLASSIFIER
from stages.core import paths
from stages.core.errors import ConfigError
from stages.core.models.artifact import load_encoder
from stages.core.params import Params, load_params

ROOT = Path(__file__).resolve().parents[3]


def params(encoder: str) -> Params:
    values = load_params(ROOT / paths.PARAMS).model_dump(by_alias=True)
    values["curate"]["encoder"] = encoder
    return Params.model_validate(values)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two registered versions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store.open()
    for number in (1, 2):
        version(
            store,
            classifier(tmp_path / f"model-{number}", seed=number),
            f"mark-{number}",
            answers(0.9),
        )
    store.client.set_registered_model_alias(CLASSIFIER, "champion", "1")
    return store


def test_an_alias_that_moves_changes_what_curate_depends_on_and_moving_it_back_restores_it(
    store: Store,
) -> None:
    wanted = f"registry:{CLASSIFIER}@champion"
    seen = []
    for number in ("1", "2", "1"):
        store.client.set_registered_model_alias(CLASSIFIER, "champion", number)
        encoder_files.materialise(params(wanted))
        stamp = paths.ENCODER.stat().st_mtime_ns
        encoder_files.materialise(params(wanted))
        assert paths.ENCODER.stat().st_mtime_ns == stamp
        seen.append(paths.ENCODER.read_bytes())
    assert seen[0] == seen[2] != seen[1]
    found = json.loads(seen[1])
    assert found["encoder"] == wanted
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 1, 16, 16), np.uint8))
    assert torch.equal(
        load_encoder(found["folder"]).encode(images), load_encoder("model-2").encode(images)
    )
    assert len(list(paths.ENCODERS.iterdir())) == 2


def test_another_encoder_asks_no_store_and_a_missing_model_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    paths.STATE.mkdir()
    encoder_files.materialise(params("pixels"))
    assert json.loads(paths.ENCODER.read_text())["encoder"] is None
    assert not Path("mlruns").exists()
    with pytest.raises(ConfigError, match="no registered model is called 'nobody'"):
        encoder_files.materialise(params("registry:nobody@champion"))
