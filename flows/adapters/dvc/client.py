"""DVC without the seconds of starting it: beside every rootstock process that needs it, one that
has it imported and forks.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from flows.adapters.dvc.fork_server import CALL, DVC
from flows.process.supervised import SupervisedProcess
from stages.core.errors import StageFailed

P = ParamSpec("P")
R = TypeVar("R")
_LOCK = threading.Lock()
_server: Server | None = None


def start() -> None:
    """Let the process begin to import, so that it is ready when it is asked."""
    _running()


def call(function: Callable[P, R], *arguments: P.args, **nothing: P.kwargs) -> R:
    """What a function of a module returns, run in a fork that has DVC; in this directory and
    environment.

    Raises:
        RootstockError, OSError: what the function raised.
    """
    connection = _running().ask(CALL)
    with connection:
        connection.send((function, arguments, str(Path.cwd()), dict(os.environ)))
        try:
            good, answer = connection.recv()
        except EOFError:
            raise StageFailed(f"{function.__name__}: its process ended without a word") from None
    if not good:
        raise answer
    result: R = answer
    return result


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> SupervisedProcess:
    """Start DVC's command line, supervised as a program of its own would be."""
    return SupervisedProcess(process=Dvc(arguments, {**os.environ, **environment}))


class Server:
    """The process that forks."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.owner = os.getpid()
        with theirs:
            self._process = beside("flows.adapters.dvc.fork_server", theirs.fileno())
        self._control = ours

    @property
    def usable(self) -> bool:
        """Whether it lives and is ours: a fork of this process must not share it."""
        return self.owner == os.getpid() and self._process.poll() is None

    def ask(self, kind: bytes, *descriptors: int) -> Connection:
        """Hand a new connection over, with what else the request needs; returns our end of it."""
        ours, theirs = socket.socketpair()
        with theirs, _LOCK:
            socket.send_fds(self._control, [kind], [theirs.fileno(), *descriptors])
        return Connection(ours.detach())


class Dvc:
    """A run of DVC's command line in a fork, with as much of ``Popen`` as
    :class:`SupervisedProcess` needs.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        (lifeline, stdin), (stdout, output) = os.pipe(), os.pipe()
        self.stdin: IO[bytes] | None = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb")
        self._connection = _running().ask(DVC, lifeline, output)
        os.close(lifeline)
        os.close(output)
        self._reading = threading.Lock()
        self._code: int | None = None
        try:
            self._connection.send((list(arguments), str(Path.cwd()), dict(environment)))
            self.pid: int = self._connection.recv()
        except (EOFError, OSError):
            raise StageFailed(
                f"dvc {' '.join(arguments)} could not be started: the process that runs DVC ended"
            ) from None

    def poll(self) -> int | None:
        """The exit code, once there is one."""
        with self._reading:
            if self._code is None and self._connection.poll():
                self._take()
            return self._code

    def wait(self) -> int:
        """The exit code; that of SIGKILL where supervision itself was killed."""
        with self._reading:
            if self._code is None:
                self._take()
            assert self._code is not None
            return self._code

    def _take(self) -> None:
        try:
            self._code = int(self._connection.recv())
        except EOFError:
            self._code = -signal.SIGKILL
        self._connection.close()


def beside(module: str, descriptor: int, **extra: str) -> subprocess.Popen[bytes]:
    """Start ``python -m MODULE DESCRIPTOR`` in a session of its own, at home in no project; it ends
    when its asker does.
    """
    here = os.pathsep.join(
        filter(None, [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")])
    )
    return subprocess.Popen(
        [sys.executable, "-m", module, str(descriptor)],
        cwd="/",
        env={**os.environ, "PYTHONPATH": here, "PYTHONUNBUFFERED": "1", **extra},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[descriptor],
        start_new_session=True,
    )


def _running() -> Server:
    global _server
    with _LOCK:
        if _server is None or not _server.usable:
            _server = Server()
        return _server
