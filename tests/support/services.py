"""A project whose servers stay, as ``rootstock up`` starts them, and what its Prefect server says
of runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.deployments import services
from tests.support.toy_stages import Tiny, tiny

OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def until(happens: Callable[[], Any], patience: float = 120) -> Any:
    deadline = time.monotonic() + patience
    while not (found := happens()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.2)
    return found


@contextmanager
def serving(root: Path, store: Path) -> Iterator[Tiny]:
    """A finished project whose servers and worker run, on ports of their own; ``store`` is an empty
    MLflow store to copy.
    """
    project = tiny(root, store)
    (project.root / "flows").symlink_to(Path(services.__file__).parents[1])
    project.commit("flows")
    project.dvc("repro", "-q")
    project.separate = True
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(project.root / ".prefect"))
        patch.setenv(
            "PREFECT_WORKER_QUERY_SECONDS", "1"
        )  # by default a worker looks for work every ten seconds
        try:
            project.printed = project.rootstock("up")
            yield project
        finally:
            project.rootstock("down")


def state(project: Tiny, name: str) -> dict[str, Any]:
    return json.loads((project.root / f".rootstock/servers/{name}.json").read_text())


def api(project: Tiny, path: str, body: dict[str, Any] | None = None) -> Any:
    answer = httpx.post(
        f"{state(project, 'prefect')['address']}/api{path}", json=body or {}, timeout=30
    )
    answer.raise_for_status()
    return answer.json()


def runs(project: Tiny, flow: str) -> list[tuple[str, str]]:
    """State type and name of all runs of a flow that have begun or ended."""
    found = api(
        project,
        "/flow_runs/filter",
        {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_ASC"},
    )
    return [
        (run["state"]["type"], run["state"]["name"])
        for run in found
        if run["state"]["type"] != "SCHEDULED"
    ]


def late_run(project: Tiny, deployment: str, minutes: int) -> str:
    """A run that was due ``minutes`` ago."""
    found = api(project, "/deployments/filter", {"deployments": {"name": {"any_": [deployment]}}})[
        0
    ]["id"]
    due = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    scheduled = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}}
    return str(api(project, f"/deployments/{found}/create_flow_run", scheduled)["id"])


def forget_runs(project: Tiny, flow: str) -> None:
    """Delete the runs of a flow, once none of them holds a slot, which would not come back."""
    until(
        lambda: not {"PENDING", "RUNNING", "CANCELLING"} & {kind for kind, _ in runs(project, flow)}
    )
    for run in api(project, "/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}}):
        httpx.delete(
            f"{state(project, 'prefect')['address']}/api/flow_runs/{run['id']}", timeout=30
        )


def moment(project: Tiny, run: str, what: str) -> datetime:
    """When a run began or ended."""
    found = httpx.get(
        f"{state(project, 'prefect')['address']}/api/flow_runs/{run}", timeout=30
    ).json()
    return datetime.fromisoformat(found[what])


def ended(project: Tiny, run: str) -> str:
    """The name of the state a run ends in."""
    address = f"{state(project, 'prefect')['address']}/api/flow_runs/{run}"

    def over() -> str | None:
        found = httpx.get(address, timeout=30).json()["state"]
        return str(found["name"]) if found["type"] in OVER else None

    return str(until(over))
