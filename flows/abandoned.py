"""Runs that a killed process left open: the next run on the same machine closes them as KILLED."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.tracking import Store

PROCESS = "rootstock.process"


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
            closed.append(str(run.info.run_id))
    return closed


def _alive(process: str) -> bool:
    pid, _, began = process.partition(" ")
    return bool(began) and _began(int(pid)) == began


def _began(pid: int) -> str:
    """Clock ticks after boot at which a process began; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""
