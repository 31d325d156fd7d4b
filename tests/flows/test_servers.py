"""Servers that stay, schedules that fire, and what happens when runs overlap, are missed, or lose their server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows import servers
from flows.deploy import Deployment, kinds, seconds, template
from stages.core.errors import ConfigError
from tests.flows.test_worktrees import inside
from tests.flows.tiny import Tiny, tiny
from tests.project import ROOT

OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def until(happens: Callable[[], Any], patience: float = 120) -> Any:
    deadline = time.monotonic() + patience
    while not (found := happens()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, _blank: Path) -> Iterator[Tiny]:
    """A project whose servers run; both on ports of their own."""
    project = tiny(tmp_path_factory.mktemp("up") / "project", _blank / "mlruns")
    (project.root / "flows").symlink_to(Path(servers.__file__).parent)
    project.commit("flows")
    project.dvc("repro", "-q")
    patch = pytest.MonkeyPatch()
    patch.delenv("PREFECT_API_URL", raising=False)
    patch.setenv("PREFECT_HOME", str(project.root / ".prefect"))
    patch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")  # by default a worker looks for work every ten seconds
    project.separate = True
    try:
        project.printed = project.rootstock("up")
        yield project
    finally:
        project.rootstock("down")
        patch.undo()


def state(project: Tiny, name: str) -> dict[str, Any]:
    return json.loads((project.root / f".rootstock/servers/{name}.json").read_text())


def api(project: Tiny, path: str, body: dict[str, Any] | None = None) -> Any:
    answer = httpx.post(f"{state(project, 'prefect')['address']}/api{path}", json=body or {}, timeout=30)
    answer.raise_for_status()
    return answer.json()


def runs(project: Tiny, flow: str) -> list[tuple[str, str]]:
    """State type and name of all runs of a flow that have begun or ended."""
    found = api(project, "/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_ASC"})
    return [(run["state"]["type"], run["state"]["name"]) for run in found if run["state"]["type"] != "SCHEDULED"]


def late_run(project: Tiny, deployment: str, minutes: int) -> str:
    """A run that was due ``minutes`` ago."""
    found = api(project, "/deployments/filter", {"deployments": {"name": {"any_": [deployment]}}})[0]["id"]
    due = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    scheduled = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}}
    return str(api(project, f"/deployments/{found}/create_flow_run", scheduled)["id"])


def forget_runs(project: Tiny, flow: str) -> None:
    """Delete the runs of a flow, once none of them holds a slot, which would not come back."""
    until(lambda: not {"PENDING", "RUNNING", "CANCELLING"} & {kind for kind, _ in runs(project, flow)})
    for run in api(project, "/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}}):
        httpx.delete(f"{state(project, 'prefect')['address']}/api/flow_runs/{run['id']}", timeout=30)


def moment(project: Tiny, run: str, what: str) -> datetime:
    """When a run began or ended."""
    found = httpx.get(f"{state(project, 'prefect')['address']}/api/flow_runs/{run}", timeout=30).json()
    return datetime.fromisoformat(found[what])


def ended(project: Tiny, run: str) -> str:
    """The name of the state a run ends in."""
    address = f"{state(project, 'prefect')['address']}/api/flow_runs/{run}"

    def over() -> str | None:
        found = httpx.get(address, timeout=30).json()["state"]
        return str(found["name"]) if found["type"] in OVER else None

    return str(until(over))


@pytest.mark.slow
def test_servers_listen_on_the_loopback_only_and_up_again_changes_nothing(up: Tiny) -> None:
    before = {name: state(up, name)["pid"] for name in ("prefect", "mlflow", "worker")}
    assert all(state(up, name)["address"].startswith("http://127.0.0.1:") for name in ("prefect", "mlflow"))
    listening = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, status = line.split()[1], line.split()[3]
        if status == "0A":
            listening.add((local.split(":")[0], int(local.split(":")[1], 16)))
    ports = {int(state(up, name)["address"].rsplit(":", 1)[1]) for name in ("prefect", "mlflow")}
    assert {host for host, port in listening if port in ports} == {"0100007F"}
    prefect = state(up, "prefect")["address"]
    assert httpx.get(f"{prefect}/ui-settings").json()["api_url"] == f"{prefect}/api"  # its pages ask it and no other
    up.rootstock("up")
    assert {name: state(up, name)["pid"] for name in before} == before
    assert httpx.get(f"{state(up, 'mlflow')['address']}/health").text == "OK"


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
    script.write_text(script.read_text().replace('count("pretrain")', 'count("pretrain"); time.sleep(20)'))
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
        over, began = (moment(up, run, what) for run, what in ((first, "end_time"), (second, "start_time")))
        assert over <= began
    finally:
        (up.root / "params.yaml").write_text(params)


@pytest.mark.slow
def test_prefect_yaml_deploys_what_rootstock_deploy_does(up: Tiny) -> None:
    shutil.copy(ROOT / "prefect.yaml", up.root)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    address = f"{state(up, 'prefect')['address']}/api"
    done = subprocess.run(command, cwd=up.root, env=up.environment(PREFECT_API_URL=address), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {item["name"]: item for item in api(up, "/deployments/filter")}
    when = {name: [item["schedule"]["cron"] for item in found[name]["schedules"]] for name in found}
    assert when == {"pipeline": ["0 2 * * *"], "verification": ["0 4 * * *"], "drift": ["0 6 * * *"], "rootstock": []}
    assert {item["work_pool_name"] for item in found.values()} == {"rootstock"}
    assert found["pipeline"]["global_concurrency_limit"]["limit"] == 1
    up.rootstock("deploy", "verification")
    asked = late_run(up, "verification", 0)  # there is no champion here: the run says so
    assert ended(up, asked) == "Failed"
    message = httpx.get(f"{address}/flow_runs/{asked}", timeout=30).json()["state"]["message"]
    assert "rootstock-classifier" in message


SRUN = """#!/bin/sh
# What srun is for a pool of the kind slurm: takes its options, then runs the command, here on this machine.
echo "$*" >> "$0.log"
while case "$1" in --*) ;; *) false ;; esac; do shift; done
exec "$@"
"""
MEETING = """
import os, sys, time
from pathlib import Path
mine, other = (Path(f"{os.environ['TINY_LOG']}.{name}") for name in sys.argv[1:])
mine.touch()
deadline = time.monotonic() + 120
while not other.exists():
    assert time.monotonic() < deadline, "the other stage did not come"
    time.sleep(0.1)
Path("data").mkdir(exist_ok=True)
Path(f"data/{sys.argv[1]}.txt").write_text("met")
"""


@pytest.fixture
def cluster(up: Tiny, tmp_path: Path) -> Iterator[str]:
    """A pool with two workers that take one run each; ``srun`` is a script."""
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    address = f"{state(up, 'prefect')['address']}/api"
    environment = up.environment(PREFECT_API_URL=address)
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    up.rootstock("deploy", "stage-worker", "--pool", "cluster", "--kind", "slurm")
    up.rootstock("deploy", "experiment-worker", "--pool", "cluster")
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "cluster", "--limit", "1", "--name"]
    workers = [
        subprocess.Popen([*command, name], cwd=up.root, env=environment, stdout=subprocess.DEVNULL) for name in ("one", "two")
    ]
    try:
        yield f"{tmp_path}/srun.log"
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


@pytest.mark.slow
def test_stages_and_cells_spread_over_two_workers_of_a_pool(up: Tiny, cluster: str) -> None:
    (up.root / "meeting.py").write_text(MEETING)
    graph = yaml.safe_load((up.root / "dvc.yaml").read_text())
    for mine, other in (("left", "right"), ("right", "left")):
        graph["stages"][mine] = {"cmd": f"python meeting.py {mine} {other}", "deps": ["meeting.py"], "outs": [f"data/{mine}.txt"]}
    (up.root / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    up.commit("Two stages that wait for each other: one worker alone could not run them")
    printed = up.rootstock("run", "--pool", "cluster")
    assert [(up.root / f"data/{name}.txt").read_text() for name in ("left", "right")] == ["met", "met"]
    assert "ran" in printed
    assert [kind for kind, _ in runs(up, "rootstock-stage-worker")] == ["COMPLETED"] * 2
    assert not list((up.root / ".rootstock/elsewhere").iterdir())
    up.version("v1", "0.5 0.5")
    up.version("v2", "0.6 0.6")
    printed = up.rootstock(
        "experiment", "--data", "v1,v2", "--seeds", "2", "--to", "evaluate", "--pool", "cluster", "--jobs", "2"
    )
    assert "Dataset version v2 is better" in printed
    until(lambda: [kind for kind, _ in runs(up, "rootstock-experiment-worker")] == ["COMPLETED"] * 2)
    assert Path(cluster).read_text().count("--ntasks=1 --gpus=0 ") == 4
    assert "no worker of the pool 'nowhere'" in up.rootstock("run", "--pool", "nowhere", code=2)


@pytest.mark.slow
def test_down_leaves_no_process(up: Tiny) -> None:
    assert up.rootstock("down").strip() == "stopped worker, mlflow, prefect"
    assert up.processes() == []
    assert up.rootstock("down").strip() == "nothing was running"


def test_without_a_server_a_schedule_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    project = tiny(tmp_path / "project")
    assert "start one with rootstock up" in project.rootstock("deploy", "--cron", "0 2 * * *", code=2)
    assert "no Prefect server answers" in project.rootstock("deploy", code=2, PREFECT_API_URL="http://127.0.0.1:9/api")


def test_what_makes_no_schedule_is_refused(tmp_path: Path, server: str) -> None:
    project = tiny(tmp_path / "project")
    (project.root / "flows").symlink_to(Path(servers.__file__).parent)
    for arguments, words in {
        ("--cron", "every day"): "--cron every day",
        ("--interval", "often"): "expected a number and a unit",
        ("--cron", "0 2 * * *", "--interval", "6h"): "give one of them",
        ("--kind", "mainframe"): "choose from docker, kubernetes, process, slurm",
        ("pipelin",): "did you mean 'pipeline'",
        ("--cron", "0 2 * * *", "--timezone", "Mars/Olympus"): "Mars/Olympus",
    }.items():
        assert words in project.rootstock("deploy", *arguments, code=2)


def test_every_pool_template_asks_for_the_gpus_of_the_greediest_stage() -> None:
    assert kinds() == ["docker", "kubernetes", "process", "slurm"]
    assert "--gpus=3 " in template("slurm", 3)["template"]["job_configuration"]["command"]
    pod = template("kubernetes", 3)["template"]["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 3}
    assert template("docker", 3)["template"]["job_configuration"]["container_create_kwargs"]["device_requests"][0]["Count"] == 3
    for kind in kinds():
        properties = template(kind)["template"]["variables"]["properties"]
        slots = json.dumps(template(kind)["template"]["job_configuration"]).split("{{ ")[1:]
        assert {slot.split(" }}")[0] for slot in slots} <= set(properties)


def test_intervals_have_a_number_and_a_unit() -> None:
    assert [seconds(text) for text in ("90s", "15m", "6h", "1d")] == [90, 900, 21_600, 86_400]
    for text in ("0s", "6", "h", "-1h"):
        with pytest.raises(ConfigError):
            seconds(text)
    with pytest.raises(ConfigError):
        Deployment(cron="* * * * *", interval="1h")


def test_a_number_that_another_process_took_over_is_not_ours(tmp_path: Path) -> None:
    project = tiny(tmp_path / "project")
    folder = project.root / ".rootstock/servers"
    folder.mkdir(parents=True)
    (folder / "prefect.json").write_text(json.dumps({"name": "prefect", "pid": os.getpid(), "began": "1", "address": "http://x"}))
    with inside(project, project.root):
        assert servers.service("prefect") is None
        assert servers.down() == []
