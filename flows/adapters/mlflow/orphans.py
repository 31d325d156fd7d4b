"""Orphaned runs: close in MLflow and in Prefect what a killed process left open."""

from __future__ import annotations

import json
import os
import platform
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flows.adapters.mlflow.store import Store
from flows.process import identity
from flows.process.identity import PROCESS

FLOW_RUN = "prefect.flow_run_id"
"""The tag of an MLflow run that names the flow run it records."""
VARIABLE = "PREFECT__FLOW_RUN_ID"
"""The same in the environment of the process that runs it."""
PATIENCE = 3.0
"""Seconds that Prefect's server may take to answer where a run waits for it."""
LONG_PATIENCE = 60.0
"""The same for a server that was just started, on a machine that may be busy."""


def close(store: Store) -> list[str]:
    """Close what processes of this machine that are gone left RUNNING; returns the ids. Other
    machines' runs are their own.
    """
    running = store.client.search_runs(
        [store.experiment], "attributes.status = 'RUNNING'", max_results=1000
    )
    closed = []
    for run in running:
        host, _, process = run.data.tags.get(PROCESS, "").partition(" ")
        pid, _, since = process.partition(" ")
        if host == platform.node() and not (since and identity.alive(int(pid), since)):
            store.tag(
                run.info.run_id,
                {"rootstock.error": "the process that wrote this run ended without a word"},
            )
            store.end(run.info.run_id, "KILLED")
            mark_crashed(run.data.tags)
            closed.append(str(run.info.run_id))
    return closed


def mark_crashed(tags: Mapping[str, str]) -> None:
    """Mark the flow run named in ``tags`` as crashed, if Prefect still lists it as running."""
    server, flow_run = os.environ.get("PREFECT_API_URL"), tags.get(FLOW_RUN)
    if not (server and flow_run):
        return
    with suppress(OSError, ValueError):
        with urllib.request.urlopen(f"{server}/flow_runs/{flow_run}", timeout=PATIENCE) as answer:
            if json.load(answer)["state_type"] != "RUNNING":
                return
        _call_crashed(server, flow_run, "the process that ran it ended without a word", PATIENCE)


def mark_worker_runs_crashed(worker: str, server: str) -> None:
    """Let Prefect call those runs crashed which a worker of this machine that is gone took and no
    process runs.

    Until then each would hold its deployment's turn: with its own leases lost, a server that was
    started again waits for ever.

    Raises:
        OSError: the server does not answer, or refuses.
    """
    unfinished = {
        "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}},
        "limit": 200,
    }
    for run in _post(f"{server}/flow_runs/filter", unfinished, LONG_PATIENCE):
        if run.get("labels", {}).get(
            "prefect.worker.name"
        ) == worker and not identity.with_environment(VARIABLE, run["id"]):
            _call_crashed(
                server,
                run["id"],
                "its worker was stopped, or the machine was, before it ended",
                LONG_PATIENCE,
            )


def _call_crashed(server: str, flow_run: str, why: str, patience: float) -> None:
    crashed = {"state": {"type": "CRASHED", "name": "Crashed", "message": why}}
    _post(f"{server}/flow_runs/{flow_run}/set_state", crashed, patience)


def _post(address: str, body: dict[str, Any], patience: float) -> Any:
    asked = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=patience) as answer:
        return json.load(answer)
