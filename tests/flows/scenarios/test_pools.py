"""Runs that share what there is little of: a GPU limit that holds across runs, and retraining after
drift.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from flows.adapters.prefect.gpu_limit import LIMIT
from flows.monitoring.drift import DriftCheck, retrain
from stages.core.errors import RootstockError
from stages.core.metrics.drift import detect_drift
from stages.core.params import load_params
from tests.support.toy_stages import Tiny, tiny

HOLDS = r"""
    import os
    log = Path(os.environ["HELD"])
    with log.open("a") as file:
        file.write(f"{time.monotonic()} ")
        time.sleep(1.5)
        file.write(f"{time.monotonic()}\n")
"""


def test_a_gpu_is_held_by_one_stage_at_a_time_across_runs(
    project: Any, server: str, tmp_path: Path
) -> None:
    project.add("a", [], "data/a.txt", "a", body=HOLDS)
    project.stages["a"]["meta"] = {"resources": {"gpu": 1}}
    project.write()
    second = type(project)(tmp_path / "second")
    shutil.copytree(project.root, second.root)
    held = tmp_path / "held"
    settings = {"CUDA_VISIBLE_DEVICES": "0", "HELD": str(held)}
    flows = [one.start("run", "--to", "a", environment=settings) for one in (project, second)]
    for flow in flows:
        out, err = flow.communicate(timeout=240)
        assert flow.returncode == 0, (out, err)
        assert "Still processing" not in err  # Prefect says so when events wait at the end
    (first_from, first_to), (then_from, then_to) = sorted(
        tuple(map(float, line.split())) for line in held.read_text().splitlines()
    )
    assert first_from < first_to <= then_from < then_to
    limit = httpx.get(f"{server}/v2/concurrency_limits/{LIMIT}").json()
    assert (limit["limit"], limit["active_slots"]) == (1, 0)


def found(alarm: bool) -> DriftCheck:
    drift = detect_drift(
        *np.random.default_rng(0).normal(size=(2, 60, 2)).astype(np.float32),
        alpha=0.01,
        threshold=0.1,
        seed=0,
    )
    return DriftCheck(
        drift, 0.0, 0, "rootstock-classifier version 1", alarm, ("drift",) if alarm else ()
    )


def test_after_an_alarm_the_pipeline_runs_on_the_enlarged_data(
    tmp_path: Path, _blank: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project: Tiny = tiny(tmp_path / "project", _blank / "mlruns")
    project.rootstock("run")
    before = project.executions()
    (project.root / "source.txt").write_text("0.5 0.5 0.5 0.5 0.9 0.9")
    monkeypatch.chdir(project.root)
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    off = load_params().monitor
    on = off.model_copy(update={"retrain": True})
    assert not retrain(found(True), off)
    assert not retrain(found(False), on)
    assert project.executions() == before
    assert retrain(found(True), on)
    assert project.executions() == before + 4
    (project.root / "source.txt").write_text("nothing that is a number")
    with pytest.raises(RootstockError, match="ingest"):
        retrain(found(True), on)
