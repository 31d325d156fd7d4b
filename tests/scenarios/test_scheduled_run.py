"""The locked packages can schedule: newer ones break Prefect's server at import, or silently never
start a scheduled run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from benchmarks.support.checkout import ROOT
from flows.adapters.prefect.server import PrefectServer, free_port
from flows.process.supervised import SupervisedProcess
from flows.project.environment import QUIET

SERVED = """
from pathlib import Path
from prefect import flow
from flows.pipeline import flow as pipeline  # the real flow imports where it is served from

@flow
def tick():
    with Path("ticks").open("a") as file:
        file.write("tick\\n")

if __name__ == "__main__":
    tick.serve(name="often", interval=5, limit=1, print_starting_message=False)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings of a project of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    return {**kept, **QUIET, "PREFECT_HOME": str(tmp_path / ".prefect"), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def server(environment: dict[str, str]) -> Iterator[str]:
    """A whole Prefect server, scheduler included."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    process = SupervisedProcess(command, environment, capture=False)
    try:
        running = PrefectServer(f"http://127.0.0.1:{port}/api", process)
        running.wait()
        yield running.address
    finally:
        process.kill()


def test_a_scheduled_run_fires(tmp_path: Path, environment: dict[str, str], server: str) -> None:
    (tmp_path / "served.py").write_text(SERVED)
    settings = {**environment, "PREFECT_API_URL": server, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    serving = subprocess.Popen([sys.executable, "served.py"], cwd=tmp_path, env=settings)
    try:
        deadline = time.monotonic() + 240
        while (
            not (tmp_path / "ticks").exists()
            and time.monotonic() < deadline
            and serving.poll() is None
        ):
            time.sleep(0.2)
        assert (tmp_path / "ticks").read_text().startswith("tick")
    finally:
        serving.terminate()
        serving.wait(timeout=60)


def test_prefect_yaml_names_the_flows_there_are() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert deployments
    for deployment in deployments:
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert f"def {name}(" in ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text()
