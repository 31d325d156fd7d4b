"""A stage in a work pool: a worker that shares this project's files runs it, and it is followed
from here as if it ran beside.

``python -m flows.pipeline.remote.client POOL FOLDER`` stands for it on this machine: it prints the
stage's lines and ends with its exit code. The worker's side is :mod:`flows.pipeline.remote.worker`;
what the two say to each other is :mod:`flows.pipeline.remote.mailbox`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from httpx import TransportError

from flows.adapters.prefect.server import need_server
from flows.pipeline.remote.mailbox import Mailbox
from flows.process.supervised import SupervisedProcess
from stages.core.errors import ConfigError, StageFailed

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

WORKER = "rootstock-stage-worker"
POLL, LOOK = 0.1, 5.0
"""Seconds between two looks at the files, and at what Prefect says of the run."""
ALONE = 300.0
"""Seconds that no worker of the pool may show itself before a stage nobody has begun is given up.
"""
LABEL = "prefect.worker.name"
MISSED = 3
"""Heartbeats a worker may miss before it counts as gone; Prefect counts the same."""
DIED = 128 + signal.SIGKILL


def check(pool: str) -> None:
    """Refuse a pool whose workers cannot be called.

    Raises:
        ConfigError: no server answers, or nobody deployed ``stage-worker`` on the pool.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    need_server()
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(f"{WORKER}/{pool}")
        except ObjectNotFound:
            raise ConfigError(
                f"no worker of the pool {pool!r} can be asked to run a stage: rootstock deploy"
                f" stage-worker --pool {pool}"
            ) from None


def run(pool: str, arguments: Sequence[str], environment: Mapping[str, str]) -> SupervisedProcess:
    """Let a worker run DVC with these arguments; ``environment`` is written to a file, so no secret
    may be in it.
    """
    errand = Mailbox.new(arguments, environment)
    return SupervisedProcess(
        [sys.executable, "-m", "flows.pipeline.remote.client", pool, str(errand.folder)], {}
    )


def follow(pool: str, folder: Path) -> int:
    """Ask, print what comes, and return the exit code; that of SIGKILL where the worker died, so
    that it is tried again.
    """
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment

    errand = Mailbox(folder)
    signal.signal(signal.SIGTERM, lambda *_: errand.stop.touch())
    with errand.wanting(), get_client(sync_client=True) as client:
        asked = run_deployment(
            f"{WORKER}/{pool}",
            parameters={"folder": str(folder)},
            timeout=0,
            idempotency_key=folder.name,
        )
        watch, seen, gone = Watch(client, pool, asked.id), 0, ""  # type: ignore[union-attr]
        while (code := errand.code) is None and not gone:
            seen = _print(errand.lines, seen)
            time.sleep(POLL)
            gone = watch.look(errand)
        _print(errand.lines, seen)
        if code is None:
            print(gone, flush=True)
            watch.give_up()
            code = watch.verdict
    shutil.rmtree(folder, ignore_errors=True)
    return code


class Watch:
    """What Prefect knows of the run that was asked for: whether anybody will ever begin it, and
    whether it still goes on.
    """

    verdict = DIED
    """The exit code that stands for what ``look`` found."""

    def __init__(self, client: SyncPrefectClient, pool: str, run: UUID) -> None:
        self._client, self._pool, self._run = client, pool, run
        self._looked = self._somebody = time.monotonic()
        self._told = False

    def look(self, errand: Mailbox) -> str:
        """Why there is nothing to wait for any more; empty while there is."""
        if errand.forsaken:
            return "the worker that ran it is gone: it was killed, or its machine went down"
        if errand.begun or time.monotonic() - self._looked < LOOK:
            return ""
        self._looked = time.monotonic()
        try:
            return self._ask(errand)
        except TransportError:  # the server restarts; the worker needs it too
            return ""

    def _ask(self, errand: Mailbox) -> str:
        found = self._client.read_flow_run(self._run)
        if found.state is None or errand.begun:
            return ""
        if found.state.is_final():
            said = found.state.message or "without a word"
            return f"the worker could not begin it: its run ended as {found.state.name} ({said})"
        if not self._told:
            print(
                f"waits for a worker: prefect worker start --pool {self._pool} starts one",
                flush=True,
            )
            self._told = True
        return self._nobody(found)

    def give_up(self) -> None:
        """Let no worker begin it any more."""
        from prefect.states import Cancelled

        self._client.set_flow_run_state(self._run, Cancelled(message="given up"), force=True)

    def _nobody(self, found: FlowRun) -> str:
        """A worker that took it and died before it began leaves it pending for ever; where none is
        there, nobody will take it.
        """
        there = self._workers()
        if (
            found.state
            and found.state.is_pending()
            and (name := found.labels.get(LABEL)) not in there
        ):
            return f"the worker {name} took it and is gone: it was killed, or its machine went down"
        if there:
            self._somebody = time.monotonic()
        if time.monotonic() - self._somebody < ALONE:
            return ""
        self.verdict = StageFailed.exit_code
        return (
            f"no worker of the pool {self._pool!r} has shown itself for {ALONE / 60:.0f} minutes; "
            f"prefect worker start --pool {self._pool} starts one"
        )

    def _workers(self) -> set[Any]:
        """Names of the pool's workers that have shown themselves lately."""
        now = datetime.now(UTC)
        return {
            worker.name
            for worker in self._client.read_workers_for_work_pool(self._pool)
            if worker.last_heartbeat_time
            and now - worker.last_heartbeat_time
            < MISSED * timedelta(seconds=worker.heartbeat_interval_seconds or 30)
        }


def _print(path: Path, seen: int) -> int:
    """Print the whole lines after the first ``seen`` bytes; returns how many bytes are printed
    now.
    """
    if not path.is_file():
        return seen
    with path.open("rb") as file:
        file.seek(seen)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    sys.stdout.buffer.write(whole)
    sys.stdout.flush()
    return seen + len(whole)


if __name__ == "__main__":
    code = follow(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(code)
