"""The Prefect server of one pipeline run: the one at ``PREFECT_API_URL``, or a temporary one that
dies with this process.

Prefect starts an embedded server too, but that one survives a flow killed with SIGKILL; this one is
supervised like a stage, and starts while the plan is made.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import URLError

from flows.process.identity import FEW_ARENAS
from flows.process.supervised import SupervisedProcess
from stages.core.errors import ConfigError, StageFailed

PATIENCE = 120.0
RESTARTING = 3.0
"""Seconds that a server which is there already may take to answer."""
APPLICATION = "prefect.server.api.server:create_app"
ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    **FEW_ARENAS,
}


_running: PrefectServer | None = None
"""The temporary server of this process, while there is one."""


class PrefectServer:
    """An answering or a starting server; ``wait`` returns when it answers."""

    def __init__(self, address: str, process: SupervisedProcess | None) -> None:
        self.address, self._process = address, process

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            ConfigError: the server at ``PREFECT_API_URL`` does not answer.
            StageFailed: the temporary server ended or was too slow.
        """
        deadline = time.monotonic() + (PATIENCE if self._process else RESTARTING)
        while not answers(self.address):
            if self._process is None and time.monotonic() > deadline:
                raise ConfigError(
                    f"no Prefect server answers at PREFECT_API_URL={self.address}: start it, or"
                    " unset the variable"
                )
            if self._process and not self._process.running:
                raise StageFailed(
                    "the temporary Prefect server ended at once: `rootstock doctor` names the usual"
                    " causes"
                )
            if time.monotonic() > deadline:
                raise StageFailed(
                    f"the temporary Prefect server did not answer within {PATIENCE:.0f} seconds"
                )
            time.sleep(0.05)


def need_server() -> None:
    """Refuse where no Prefect server answers that outlives this command."""
    address = os.environ.get("PREFECT_API_URL")
    if not address:
        raise ConfigError(
            "a schedule needs a Prefect server that stays: start one with rootstock up, or set"
            " PREFECT_API_URL"
        )
    PrefectServer(address.rstrip("/"), None).wait()


@contextmanager
def prefect_server() -> Iterator[PrefectServer]:
    """Yield the server to use; a temporary one is set as ``PREFECT_API_URL`` inside the block and
    gone after it.
    """
    global _running
    given = os.environ.get("PREFECT_API_URL")
    if given:
        own = _running is not None and _running.address == given
        try:
            yield _running if _running and own else PrefectServer(given.rstrip("/"), None)
        finally:
            flush()
        return
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        APPLICATION,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    process = SupervisedProcess(
        [*command, "--log-level", "error", "--lifespan", "on"], ENVIRONMENT, capture=False
    )
    hand_over()
    os.environ["PREFECT_API_URL"] = address
    _running = PrefectServer(address, process)
    try:
        with _told(address):
            try:
                yield _running
            finally:
                hand_over()
    finally:
        _running = None
        os.environ.pop("PREFECT_API_URL", None)
        process.kill()


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Where Prefect was imported before, it has read its settings already: without this it would
    start a server of its own.
    """
    if "prefect" not in sys.modules:
        yield
        return
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: address}):
        yield


def flush(patience: float = 10.0) -> None:
    """Wait until Prefect's server has this process's events, at most ``patience`` seconds.

    What sends them stays, for what comes later: a new one for every run would stay in memory, as
    Prefect keeps the old ones. At the end of the process it finds nothing left to do and does not
    print how much there is.
    """
    if "prefect.events.worker" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker

    # instance() would start one where none is
    started: dict[int, Any] = EventsWorker._instances  # type: ignore[misc]
    for service in list(started.values()):
        if isinstance(service, EventsWorker):
            emptied = threading.Thread(target=service.wait_until_empty, daemon=True)
            emptied.start()
            emptied.join(patience)


def hand_over(patience: float = 10.0) -> None:
    """Send the last events and log lines and stop what sends them: the server they go to is about
    to end.
    """
    if "prefect.logging.handlers" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    until = time.monotonic() + patience
    flush(patience)
    for service in (APILogWorker, EventsWorker):
        service.drain_all(timeout=max(0.1, until - time.monotonic()), at_exit=False)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    """Whether a Prefect server answers at this address."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
