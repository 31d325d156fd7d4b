"""Servers that stay: where they listen, that they are started once, and that nothing is left of
them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from flows.deployments import services
from flows.project import endpoints
from stages.core.errors import StageFailed
from tests.flows.project.test_worktrees import inside
from tests.support.services import ended, forget_runs, late_run, runs, state, until
from tests.support.toy_stages import Tiny, tiny


@pytest.mark.slow
def test_servers_listen_on_the_loopback_only_and_up_again_changes_nothing(up: Tiny) -> None:
    before = {name: state(up, name)["pid"] for name in ("prefect", "mlflow", "worker")}
    assert all(
        state(up, name)["address"].startswith("http://127.0.0.1:") for name in ("prefect", "mlflow")
    )
    listening = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, status = line.split()[1], line.split()[3]
        if status == "0A":
            listening.add((local.split(":")[0], int(local.split(":")[1], 16)))
    ports = {int(state(up, name)["address"].rsplit(":", 1)[1]) for name in ("prefect", "mlflow")}
    assert {host for host, port in listening if port in ports} == {"0100007F"}
    prefect = state(up, "prefect")["address"]
    assert (
        httpx.get(f"{prefect}/ui-settings").json()["api_url"] == f"{prefect}/api"
    )  # its pages ask it and no other
    up.rootstock("up")
    assert {name: state(up, name)["pid"] for name in before} == before
    assert httpx.get(f"{state(up, 'mlflow')['address']}/health").text == "OK"


@pytest.mark.slow
def test_down_leaves_no_process(up: Tiny) -> None:
    assert up.rootstock("down").strip() == "stopped worker, mlflow, prefect"
    assert up.processes() == []
    assert up.rootstock("down").strip() == "nothing was running"


@pytest.mark.slow
def test_up_stopped_halfway_says_what_ends_the_servers(tmp_path: Path) -> None:
    project = tiny(tmp_path / "project")
    process = project.start("up")
    until(lambda: (project.root / ".rootstock/servers/mlflow.json").is_file())
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert (
        process.returncode == 3
        and "rootstock: stopped; rootstock down stops what has started" in output
    )
    assert project.rootstock("down").strip() == "stopped mlflow, prefect"
    assert project.processes() == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["PENDING", "RUNNING"])
def test_down_in_mid_run_leaves_no_process_and_the_next_run_its_turn(up: Tiny, moment: str) -> None:
    up.rootstock("up")
    up.rootstock("deploy")
    forget_runs(up, "rootstock-scheduled")
    late_run(up, "pipeline", 0)
    until(lambda: any("prefect.engine" in words(pid) for pid in up.processes()))
    until(lambda: [kind for kind, _ in runs(up, "rootstock-scheduled")] == [moment])
    before = state(up, "prefect")["address"]
    up.rootstock("down")
    assert up.processes() == []
    with socket.create_server(
        ("127.0.0.1", int(before.rsplit(":", 1)[1]))
    ):  # somebody else took its port meanwhile
        up.rootstock("up")
    assert state(up, "prefect")["address"] != before
    assert runs(up, "rootstock-scheduled") == [("CRASHED", "Crashed")]
    assert ended(up, late_run(up, "pipeline", 0)) == "Cached"


def words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def test_a_server_that_does_not_answer_is_one_line() -> None:
    with pytest.raises(
        StageFailed, match=r"does not say which runs were left unfinished: .*Connection refused"
    ):
        services._close_runs("http://127.0.0.1:9/api")


def test_a_number_that_another_process_took_over_is_not_ours(tmp_path: Path) -> None:
    project = tiny(tmp_path / "project")
    folder = project.root / ".rootstock/servers"
    folder.mkdir(parents=True)
    (folder / "prefect.json").write_text(
        json.dumps({"name": "prefect", "pid": os.getpid(), "began": "1", "address": "http://x"})
    )
    with inside(project, project.root):
        assert endpoints.service("prefect") is None
        assert services.down() == []
