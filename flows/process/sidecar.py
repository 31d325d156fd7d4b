"""Sidecars: processes that run beside this one, so that it waits for none of their imports.

One mechanism, two workers: :mod:`flows.adapters.dvc.fork_server` and
:mod:`flows.adapters.mlflow.recorder_process`. A sidecar is started once, is never shared with a
fork, belongs to no project, and ends when this process does, by whatever death.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

S = TypeVar("S", bound="Sidecar")


class Sidecar:
    """Process ``python -m MODULE DESCRIPTOR``, which reads its end of a socket at DESCRIPTOR."""

    def __init__(
        self,
        module: str,
        kind: socket.SocketKind = socket.SOCK_STREAM,
        environment: Mapping[str, str] = {},
    ) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, kind)
        self.owner = os.getpid()
        path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]
        given = {"PYTHONPATH": os.pathsep.join(filter(None, path)), "PYTHONUNBUFFERED": "1"}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                cwd="/",
                env={**os.environ, **given, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    @property
    def usable(self) -> bool:
        """Whether it lives and is ours: a fork of this process must not share it."""
        return self.owner == os.getpid() and self.process.poll() is None


class Only(Generic[S]):
    """Holder of the one sidecar of a kind that this process has."""

    def __init__(self, make: Callable[[], S]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._held: S | None = None

    def running(self) -> S:
        """Return it, started where there is none or the last one ended."""
        with self._lock:
            if self._held is None or not self._held.usable:
                self._held = self._make()
            return self._held

    def forget(self) -> None:
        """Let the next caller start another one."""
        self._held = None


def adopt(folder: str, environment: Mapping[str, str]) -> None:
    """Work, in the sidecar, where and as the process that asks does."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
