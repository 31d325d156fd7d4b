"""``rootstock up`` and ``down``: a Prefect server, an MLflow server and a worker for this project,
on the loopback interface.

They live on after the command. Databases come from the environment, never from a command line,
which others can read: ``PREFECT_SERVER_DATABASE_CONNECTION_URL`` and ``MLFLOW_BACKEND_STORE_URI``
(SQLite inside the project by default), artifacts from ``MLFLOW_ARTIFACTS_DESTINATION``.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict

from flows.adapters.mlflow import database, orphans
from flows.adapters.mlflow import store as tracking
from flows.adapters.prefect.server import free_port
from flows.process import identity
from flows.process.identity import FEW_ARENAS
from flows.process.locks import lock
from flows.project.endpoints import BACKEND, FOLDER, Service, service
from stages.core.errors import StageFailed
from stages.core.io import read_json, write_json

HOST = "127.0.0.1"
POOL = "rootstock"
WORKER = f"rootstock-{platform.node()}"
"""Two machines may share one database; the runs of the other are its own."""
PORTS = {"prefect": 4200, "mlflow": 5000}
PATIENCE = 120.0
GRACE = 15.0
RUN_GRACE = 30.0
"""Seconds: a training stage writes its checkpoint before it ends."""


def up(worker: bool = True) -> list[Service]:
    """Start what does not run yet and wait until it answers. Calling it again changes nothing.

    Raises:
        StageFailed: a server ended or was too slow; its last words are in the message.
    """
    if BACKEND not in os.environ:
        tracking.Store.open()  # the tables are made under a lock, before two servers could both try
    with lock(FOLDER / "up.lock"):
        services = [_ensure("prefect"), _ensure("mlflow")]
        for started in services:
            _wait(started)
        os.environ["PREFECT_API_URL"] = f"{services[0].address}/api"
        if worker:
            if service("worker") is None:
                _close_runs(os.environ["PREFECT_API_URL"])
            services.append(_ensure("worker"))
    return services


def down() -> list[str]:
    """Stop everything ``up`` started, the worker first; returns what was running."""
    stopped = []
    for name in ("worker", "mlflow", "prefect"):
        found = service(name)
        if found or identity.with_environment(identity.MARK, _mark(name)):
            _stop(name, found)
            stopped.append(name)
        (FOLDER / f"{name}.json").unlink(missing_ok=True)
    return stopped


def _close_runs(server: str) -> None:
    try:
        orphans.mark_worker_runs_crashed(WORKER, server)
    except OSError as error:
        raise StageFailed(
            f"the prefect server does not say which runs were left unfinished: {error}"
            f" ({FOLDER}/prefect.log); try again"
        ) from None


def _ensure(name: str) -> Service:
    if found := service(name):
        return found
    port = _port(name) if name in PORTS else 0
    address = f"http://{HOST}:{port}" if port else ""
    with (FOLDER / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            _command(name, port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(name, address),
        )
    started = Service(name, process.pid, identity.began(process.pid), address)
    write_json(FOLDER / f"{name}.json", asdict(started))
    return started


def _command(name: str, port: int) -> list[str]:
    python = [sys.executable, "-m"]
    if name == "prefect":
        return [*python, "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    if name == "mlflow":
        return [*python, "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    return [*python, "flows.deployments.worker", "--pool", POOL, "--name", WORKER]


def _environment(name: str, address: str) -> dict[str, str]:
    """Where each keeps its data; addresses with passwords stay in the environment."""
    settings = {**os.environ, "PREFECT_UI_ENABLED": "1", identity.MARK: _mark(name)}
    settings = {**FEW_ARENAS, **settings}
    if name == "mlflow":
        store = database.tracking_uri()
        if not store.startswith("http"):
            settings.setdefault(BACKEND, store)
        settings.setdefault(
            "MLFLOW_ARTIFACTS_DESTINATION", (database.FOLDER / "artifacts").resolve().as_uri()
        )
        settings.pop("MLFLOW_TRACKING_URI", None)
    if name == "prefect":
        settings.pop("PREFECT_API_URL", None)
        settings["PREFECT_UI_API_URL"] = (
            f"{address}/api"  # its pages would ask port 4200, wherever they came from
        )
    return settings


def _port(name: str) -> int:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for wanted in (_last_port(name), PORTS[name]):
            try:
                probe.bind((HOST, wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return free_port()


def _last_port(name: str) -> int:
    """Where it was before: a worker that outlived a crashed server finds the next one there."""
    path = FOLDER / f"{name}.json"
    return int(read_json(path)["address"].rsplit(":", 1)[1]) if path.is_file() else PORTS[name]


def _wait(started: Service) -> None:
    deadline = time.monotonic() + PATIENCE
    while not started.answers:
        if not started.alive or time.monotonic() > deadline:
            words = (
                (FOLDER / f"{started.name}.log").read_text(errors="replace").strip().splitlines()
            )
            _stop(started.name, started)
            how = "did not answer" if started.alive else "ended at once"
            raise StageFailed(
                f"the {started.name} server {how}: {words[-1] if words else 'no output'}"
                f" ({FOLDER}/{started.name}.log)"
            )
        time.sleep(0.1)


def _stop(name: str, found: Service | None) -> None:
    """Ask its process group to end, then whatever came of it: Prefect's worker starts runs in
    sessions of their own.
    """
    if found:
        with suppress(ProcessLookupError):
            os.killpg(found.pid, signal.SIGTERM)
        identity.wait_for(GRACE, lambda: not found.alive)
        with suppress(ProcessLookupError):
            os.killpg(found.pid, signal.SIGKILL)
    identity.end(_mark(name), RUN_GRACE)


def _mark(name: str) -> str:
    return str((FOLDER / name).resolve())
