"""The worker of ``rootstock up`` keeps nothing of the runs it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from flows.deployments import deploy, services
from tests.support.services import OVER, until

COUNTING = """
# Run a module and say at SIGUSR1 how many of Prefect's clients there are. Only what the module itself collects is collected.
import gc, runpy, signal, sys
gc.disable()
def count(*_):
    print("clients:", sum(type(one).__name__ == "PrefectClient" for one in gc.get_objects()), flush=True)
signal.signal(signal.SIGUSR1, count)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""  # noqa: E501
FLOW = """
from prefect import flow

@flow
def nothing():
    pass
"""
POOL = "nothing"
"""Other workers of the server, and runs meant for them, are none of this test's business."""


@pytest.mark.slow
def test_the_worker_keeps_no_client_of_a_run(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    monkeypatch.setattr(services, "POOL", POOL)
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
    python, _, *arguments = services._command("worker", 0)
    assert python == sys.executable
    with get_client(sync_client=True) as client:
        deployment = deployed(client, tmp_path)
        heard = tmp_path / "heard.log"
        with heard.open("wb") as log:
            worker = subprocess.Popen([python, "-c", COUNTING, *arguments], stdout=log, stderr=log)
        try:
            run(client, deployment)  # with the first come clients that stay
            before = clients(worker, heard)
            for _ in range(2):
                run(client, deployment)
            until(lambda: clients(worker, heard) <= before, patience=30)
        finally:
            worker.kill()
            worker.wait()


def deployed(client: Any, folder: Path) -> UUID:
    """A flow that does nothing, for the workers of the pool."""
    from prefect.client.schemas.actions import WorkPoolCreate

    (folder / "nothing.py").write_text(FLOW)
    values = deploy.template("process")
    client.create_work_pool(
        WorkPoolCreate(name=POOL, type=values["type"], base_job_template=values["template"])
    )
    made: UUID = client.create_deployment(
        flow_id=client.create_flow_from_name("nothing"),
        name="nothing",
        entrypoint="nothing.nothing",
        path=str(folder),
        pull_steps=[
            {"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}
        ],
        work_pool_name=POOL,
        job_variables={"env": {"PYTHONPATH": str(folder)}},
    )
    return made


def run(client: Any, deployment: UUID) -> None:
    """Wait for one more run."""
    made = client.create_flow_run_from_deployment(deployment).id
    state = until(lambda: (now := client.read_flow_run(made).state.type.value) in OVER and now)
    assert state == "COMPLETED"


def clients(worker: subprocess.Popen[bytes], heard: Path) -> int:
    """How many of Prefect's clients there are in the worker."""

    def said() -> list[str]:
        return [line for line in heard.read_text().splitlines() if line.startswith("clients: ")]

    before = len(said())
    os.kill(worker.pid, signal.SIGUSR1)
    return int(until(lambda: said()[before:])[0].removeprefix("clients: "))
