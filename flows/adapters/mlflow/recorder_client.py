"""Somebody else keeps the books: a process that has MLflow imported, so that neither its import nor
its writing delays a stage.

That process is :mod:`flows.adapters.mlflow.recorder_process`; :class:`RecorderClient` is how a
pipeline run speaks to it. What needs no answer is posted and comes back at once; an error of such a
letter is raised by whatever is asked next.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stages.core.errors import StageFailed

if TYPE_CHECKING:
    from flows.adapters.dvc.lockfile import LockEntry
    from flows.adapters.mlflow.recorder import Closed
    from flows.process.stage_events import Event

ENDED = (
    "the process that writes to MLflow ended without a word (out of memory?); rootstock run"
    " continues where this one stopped"
)
T = TypeVar("T")
_STARTING = threading.Lock()
_office: Office | None = None


class Office:
    """The connection to the process; one for the life of this one."""

    def __init__(self) -> None:
        from flows.adapters.dvc.client import beside
        from flows.process.identity import FEW_ARENAS

        ours, theirs = socket.socketpair()
        with theirs:
            self._process = beside(
                "flows.adapters.mlflow.recorder_process", theirs.fileno(), **FEW_ARENAS
            )
        self.owner = os.getpid()
        self._connection = Connection(ours.detach())
        self._sending, self._asking = threading.Lock(), threading.Lock()
        self._owed = 0

    @property
    def usable(self) -> bool:
        """Whether it lives and is ours."""
        return self.owner == os.getpid() and self._process.poll() is None

    def post(self, what: str, *arguments: Any) -> None:
        """Say something that needs no answer."""
        self._send(False, what, arguments)

    def ask(self, what: str, *arguments: Any, say: Callable[[str], None] = print) -> Any:
        """Say something and wait for what comes of it; lines on the way go to ``say``.

        Raises:
            RootstockError: what this, or something posted before it, came to.
        """
        with self._asking:
            self._send(True, what, arguments)
            # more than one, where whoever asked before did not wait for the end: an interrupt, a
            # closed pipe
            self._owed += 1
            while self._owed:
                try:
                    kind, content = self._connection.recv()
                except (EOFError, ConnectionError):
                    raise StageFailed(ENDED) from None
                if kind != "line":
                    self._owed -= 1
                elif self._owed == 1:
                    say(content)
            if kind == "error":
                raise content
            return content

    def _send(self, answer: bool, what: str, arguments: tuple[Any, ...]) -> None:
        try:
            with self._sending:
                self._connection.send((answer, what, arguments))
        except ConnectionError:
            raise StageFailed(ENDED) from None


def start() -> Office:
    """Let the process begin to import, so that it is ready when it is needed."""
    global _office
    with _STARTING:
        if _office is None or not _office.usable:
            _office = Office()
        return _office


class RecorderClient:
    """The books of one pipeline run, kept beside it:
    :class:`flows.adapters.mlflow.recorder.RunRecorder` at the other end of a line.
    """

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._office = start()
        self._office.post("begin", str(Path.cwd()), dict(os.environ), dict(tags))

    def open(self, stage: str) -> None:
        """A stage began."""
        self._office.post("open", stage)

    def forward(self, stage: str, events: Sequence[Event]) -> None:
        """What a stage told."""
        self._office.post("forward", stage, list(events))

    def finish(self, stage: str, entry: LockEntry) -> None:
        """A stage ended well."""
        self._office.post("finish", stage, entry)

    def fail(self, stage: str, status: str, message: str) -> None:
        """A stage ended otherwise."""
        self._office.post("fail", stage, status, message)

    def flush(self) -> None:
        """Wait until everything told so far is written.

        Raises:
            RootstockError: it cannot be.
        """
        self._office.ask("flush")

    def link(self, entry: LockEntry) -> tuple[str, bool]:
        """The run that made a fresh stage's output, and whether it had to be rebuilt."""
        run, imported = self._office.ask("link", entry)
        return str(run), bool(imported)

    def call(self, function: Callable[..., T], *arguments: Any, say: Callable[[str], None]) -> T:
        """Call a function of a module over there, with the store and output path → run before its
        arguments and ``say`` after them.
        """
        answer: T = self._office.ask("call", function, *arguments, say=say)
        return answer

    def end(self, states: Mapping[str, str], status: str) -> Closed:
        """Close the parent run."""
        closed: Closed = self._office.ask("end", dict(states), status)
        return closed
