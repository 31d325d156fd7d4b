"""How one stage is started: beside this process, or by a worker of a pool."""

from __future__ import annotations

from pathlib import Path

from flows.adapters.dvc import client as warm
from flows.pipeline.remote import client
from flows.process.supervised import SupervisedProcess


def run_stage(
    name: str, events: Path, force: bool = False, pool: str | None = None
) -> SupervisedProcess:
    """Start one stage in a process group of its own, here or by a worker of ``pool``; parallel ones
    wait for DVC's lock.
    """
    settings = {
        "ROOTSTOCK_EVENTS": str(events.resolve()),
        "PYTHONUNBUFFERED": "1",
        "SHELL": "/bin/sh",
    }
    arguments = ["--wait-for-lock", "repro", "-s", name, *(["--force"] if force else [])]
    return client.run(pool, arguments, settings) if pool else warm.run(arguments, settings)
