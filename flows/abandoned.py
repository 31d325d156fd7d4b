"""Runs that a killed process left open: who kept its books closes them, or the next run on the same machine, also at Prefect."""

from __future__ import annotations

import json
import os
import platform
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.tracking import Store

PROCESS = "rootstock.process"
PATIENCE = 3.0
"""Seconds that Prefect's server may take to answer."""


def this_process() -> str:
    """Machine, process id and when the process began: a number that is given to another process later is not mistaken for it."""
    return f"{platform.node()} {os.getpid()} {_began(os.getpid())}"


def close(store: Store) -> list[str]:
    """Close what processes of this machine that are gone left RUNNING; returns the ids. Other machines' runs are their own."""
    running = store.client.search_runs([store.experiment], "attributes.status = 'RUNNING'", max_results=1000)
    closed = []
    for run in running:
        host, _, process = run.data.tags.get(PROCESS, "").partition(" ")
        if host == platform.node() and not _alive(process):
            store.tag(run.info.run_id, {"rootstock.error": "the process that wrote this run ended without a word"})
            store.end(run.info.run_id, "KILLED")
            tell_prefect(run.data.tags)
            closed.append(str(run.info.run_id))
    return closed


def tell_prefect(tags: Mapping[str, str]) -> None:
    """Let Prefect, where its server still answers, call the flow run crashed that these tags name and that is said to run."""
    server, flow_run = os.environ.get("PREFECT_API_URL"), tags.get("prefect.flow_run_id")
    if not (server and flow_run):
        return
    address = f"{server}/flow_runs/{flow_run}"
    crashed = {"state": {"type": "CRASHED", "name": "Crashed", "message": "the process that ran it ended without a word"}}
    with suppress(OSError, ValueError):
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            if json.load(answer)["state_type"] != "RUNNING":
                return
        asked = urllib.request.Request(f"{address}/set_state", json.dumps(crashed).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(asked, timeout=PATIENCE).close()


def _alive(process: str) -> bool:
    pid, _, began = process.partition(" ")
    return bool(began) and _began(int(pid)) == began


def _began(pid: int) -> str:
    """Clock ticks after boot at which a process began; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""
