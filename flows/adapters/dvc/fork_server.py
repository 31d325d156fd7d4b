"""``python -m flows.adapters.dvc.fork_server FD``: a process that has DVC imported and forks for
every request.

Importing DVC takes longer than most of what is asked of it, so it is paid once. A request is a
connection handed over as a file descriptor: ``call`` runs one function and sends back what it
returned; ``dvc`` runs DVC's own command line in a session of its own, below the supervision of
:mod:`flows.process.supervisor`. The server keeps no state and ends when its asker does.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from flows.adapters.dvc.patches import write_whole
from flows.process import supervisor
from flows.process.sidecar import adopt
from stages.core.errors import RootstockError, StageFailed

CALL, DVC = b"call", b"dvc"
MODULES = [
    "analytics",
    "cachemgr",
    "cli",
    "cli.parser",
    "commands.repro",
    "compare",
    "data_cloud",
    "dependency.param",
    "dirs",
    "lock",
    "repo.artifacts",
    "repo.datasets",
    "repo.metrics",
    "repo.open_repo",
    "repo.params",
    "repo.plots",
    "repo.reproduce",
    "repo.stage",
    "rwlock",
    "scm",
    "stage.cache",
    "stage.run",
    "types",
    "utils.strictyaml",
]
"""Of DVC, what ``dvc repro`` and a plan import only when they need it."""
OTHERS = [
    "configobj",
    "dvc_data.hashfile.checkout",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status",
    "dvc_data.index",
    "fsspec.implementations.memory",
    "networkx",
    "psutil",
    "ruamel.yaml",
    "scmrepo.git",
    "zc.lockfile",
    "flows.adapters.dvc.plan",
]
PATIENCE = 0.02
"""Seconds between two tries for one of DVC's locks; DVC itself sleeps half a second, which adds up
over stages side by side.
"""


def serve(control: socket.socket) -> None:
    """Answer until the other end of ``control`` is gone."""
    _import_dvc()
    gc.freeze()  # the forks share these objects
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks that ended are nobody's to wait for
    while True:
        kind, descriptors, _, _ = socket.recv_fds(control, 16, 3)
        if not kind:
            return
        if os.fork() == 0:
            control.close()
            os._exit(_answer(kind, descriptors))
        for descriptor in descriptors:
            os.close(descriptor)


def _import_dvc() -> None:
    """Everything ``dvc repro`` will need, and patience fit for stages that take turns every few
    milliseconds.
    """
    for name in (*(f"dvc.{name}" for name in MODULES), *OTHERS):
        importlib.import_module(name)
    import dvc.cli.parser
    import dvc.lock
    import dvc.rwlock

    dvc.cli.parser.get_main_parser()  # imports every command; kept by DVC
    write_whole()
    dvc.lock.DEFAULT_TIMEOUT = 6 * PATIENCE
    dvc.rwlock.make_lock = partial(dvc.lock.make_lock, wait=True)


def _answer(kind: bytes, descriptors: list[int]) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    connection = Connection(descriptors[0])
    if kind == CALL:
        _call(connection)
    else:
        _run_dvc(connection, *descriptors[1:])
    return 0


def _call(connection: Connection) -> None:
    function, arguments, folder, environment = connection.recv()
    adopt(folder, environment)
    try:
        answer: tuple[bool, Any] = (True, function(*arguments))
    except (RootstockError, OSError) as error:
        answer = (False, error)
    except Exception as error:
        answer = (False, StageFailed(f"{type(error).__name__}: {error}"))
    connection.send(answer)


def _run_dvc(connection: Connection, lifeline: int, output: int) -> None:
    """First the process id, then the exit code; the lines go to ``output``, and ``lifeline`` is
    supervision's standard input.
    """
    os.setsid()
    arguments, folder, environment = connection.recv()
    adopt(folder, environment)
    for descriptor, place in ((lifeline, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, place)
    os.close(lifeline)
    os.close(output)
    connection.send(os.getpid())
    connection.send(supervisor.supervise(lambda: Fork(lambda: _dvc(arguments, connection))))


def _dvc(arguments: list[str], connection: Connection) -> int:
    connection.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    from dvc.cli import main

    sys.argv = ["dvc", *arguments]
    return int(main(arguments) or 0)


class Fork:
    """A function in a forked process that dies with its parent, with as much of ``Popen`` as
    supervision needs.
    """

    def __init__(self, function: Callable[[], int]) -> None:
        self._code: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            code = 255
            try:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(
                        number,
                        signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler,
                    )
                signal.set_wakeup_fd(-1)
                supervisor.die_with_parent()
                code = function()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        return self._look(os.WNOHANG)

    def wait(self) -> int:
        """The exit code, once there is one."""
        code = self._look(0)
        return -signal.SIGKILL if code is None else code

    def _look(self, options: int) -> int | None:
        if self._code is None:
            try:
                pid, status = os.waitpid(self._pid, options)
            except ChildProcessError:
                self._code = -signal.SIGKILL  # supervision collected it when it killed everything
            else:
                self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
