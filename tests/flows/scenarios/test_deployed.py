"""Schedules that fire, and what becomes of runs that overlap, are missed, or lose their server."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.support.checkout import ROOT
from tests.support.services import api, ended, forget_runs, late_run, moment, runs, state, until
from tests.support.toy_stages import Tiny


@pytest.mark.slow
def test_a_schedule_fires_costs_no_stage_and_makes_no_version(up: Tiny) -> None:
    done = up.executions()
    printed = up.rootstock("deploy", "--interval", "10s")
    assert "rootstock-scheduled/pipeline: every 10s, pool rootstock" in printed
    until(lambda: ("COMPLETED", "Cached") in runs(up, "rootstock-scheduled"))
    up.rootstock("deploy")  # on demand from now on
    assert up.executions() == done
    with sqlite3.connect(up.root / "mlruns/mlflow.db") as store:
        assert store.execute("select count(*) from model_versions").fetchone() == (0,)


@pytest.mark.slow
def test_a_missed_tick_is_left_out_or_made_up_for_as_configured(up: Tiny) -> None:
    up.rootstock("deploy")
    forget_runs(
        up, "rootstock-scheduled"
    )  # on a busy machine the last test's runs may still stand in its way
    missed = late_run(up, "pipeline", 90)
    assert ended(up, missed) == "Missed"
    forget_runs(up, "rootstock-scheduled")  # a later run would do instead
    params = (up.root / "params.yaml").read_text()
    (up.root / "params.yaml").write_text(params.replace("catch_up: false", "catch_up: true"))
    try:
        made_up_for = late_run(up, "pipeline", 90)
        assert ended(up, made_up_for) == "Cached"
    finally:
        (up.root / "params.yaml").write_text(params)


@pytest.mark.slow
def test_overlapping_runs_are_skipped_and_a_server_restart_in_mid_run_ends_well(up: Tiny) -> None:
    script = up.root / "pretrain.py"
    script.write_text(
        script.read_text().replace('count("pretrain")', 'count("pretrain"); time.sleep(20)')
    )
    up.rootstock("deploy")
    before = up.executions("pretrain")
    first = late_run(up, "pipeline", 0)
    until(lambda: up.executions("pretrain") == before + 1)
    second = late_run(up, "pipeline", 0)
    assert ended(up, second) == "Cancelled"
    pid = state(up, "prefect")["pid"]
    os.killpg(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}/cwd").exists())
    up.rootstock("up")
    assert state(up, "prefect")["pid"] != pid
    assert ended(up, first) == "Completed"
    assert up.executions("pretrain") == before + 1


@pytest.mark.slow
def test_overlapping_runs_are_queued_where_the_configuration_says_so(up: Tiny) -> None:
    params = (up.root / "params.yaml").read_text()
    (up.root / "params.yaml").write_text(params.replace("overlap: skip", "overlap: queue"))
    script = up.root / "pretrain.py"
    script.write_text(script.read_text().replace("time.sleep(20)", "time.sleep(3)"))
    try:
        up.rootstock("deploy")
        before = up.executions("pretrain")
        first = late_run(up, "pipeline", 0)
        until(lambda: up.executions("pretrain") == before + 1)
        second = late_run(up, "pipeline", 0)
        assert (ended(up, first), ended(up, second)) == ("Completed", "Cached")
        over, began = (
            moment(up, run, what) for run, what in ((first, "end_time"), (second, "start_time"))
        )
        assert over <= began
        script.write_text(script.read_text() + "\n")
        before = up.executions("pretrain")
        late_run(up, "pipeline", 0)
        until(lambda: up.executions("pretrain") == before + 1)
        others = [late_run(up, "pipeline", 0) for _ in range(3)]
        assert sorted(ended(up, run) for run in others) == ["Cached", "Cached", "Skipped"], (
            "they would pile up without end"
        )
    finally:
        (up.root / "params.yaml").write_text(params)


@pytest.mark.slow
def test_prefect_yaml_deploys_what_rootstock_deploy_does(up: Tiny) -> None:
    shutil.copy(ROOT / "prefect.yaml", up.root)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    address = f"{state(up, 'prefect')['address']}/api"
    done = subprocess.run(
        command,
        cwd=up.root,
        env=up.environment(PREFECT_API_URL=address),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {item["name"]: item for item in api(up, "/deployments/filter")}
    when = {name: [item["schedule"]["cron"] for item in found[name]["schedules"]] for name in found}
    assert when == {
        "pipeline": ["0 2 * * *"],
        "verification": ["0 4 * * *"],
        "drift": ["0 6 * * *"],
        "rootstock": [],
    }
    assert {item["work_pool_name"] for item in found.values()} == {"rootstock"}
    assert found["pipeline"]["global_concurrency_limit"]["limit"] == 1
    up.rootstock("deploy", "verification")
    asked = late_run(up, "verification", 0)  # there is no champion here: the run says so
    assert ended(up, asked) == "Failed"
    message = httpx.get(f"{address}/flow_runs/{asked}", timeout=30).json()["state"]["message"]
    assert "rootstock-classifier" in message
