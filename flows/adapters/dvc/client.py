"""Client of the fork server: runs DVC without the seconds that importing it takes."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from flows.adapters.dvc.fork_server import CALL, DVC
from flows.process.sidecar import Only, Sidecar
from flows.process.supervised import SupervisedProcess
from stages.core.errors import StageFailed

P = ParamSpec("P")
R = TypeVar("R")


def start() -> None:
    """Let the process begin to import, so that it is ready when it is asked."""
    SERVER.running()


def call(function: Callable[P, R], *arguments: P.args, **nothing: P.kwargs) -> R:
    """What a function of a module returns, run in a fork that has DVC; in this directory and
    environment.

    Raises:
        RootstockError, OSError: what the function raised.
    """
    connection = SERVER.running().ask(CALL)
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


class Server(Sidecar):
    """The sidecar that has DVC imported and forks for every request."""

    def __init__(self) -> None:
        super().__init__("flows.adapters.dvc.fork_server", socket.SOCK_SEQPACKET)
        self._asking = threading.Lock()

    def ask(self, kind: bytes, *descriptors: int) -> Connection:
        """Hand a new connection over, with what else the request needs; returns our end of it."""
        ours, theirs = socket.socketpair()
        with theirs, self._asking:
            socket.send_fds(self.socket, [kind], [theirs.fileno(), *descriptors])
        return Connection(ours.detach())


SERVER = Only(Server)


class Dvc:
    """A run of DVC's command line in a fork, with as much of ``Popen`` as
    :class:`SupervisedProcess` needs.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        (lifeline, stdin), (stdout, output) = os.pipe(), os.pipe()
        self.stdin: IO[bytes] | None = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb")
        self._connection = SERVER.running().ask(DVC, lifeline, output)
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
