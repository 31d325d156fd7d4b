"""Recorder client: records a pipeline run through the process that has MLflow imported.

Neither its import nor its writing delays a stage. What needs no answer is posted and returns at
once; an error of such a message is raised by whatever is asked next.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flows.process.identity import FEW_ARENAS
from flows.process.sidecar import Only, Sidecar
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


class RecorderProcess(Sidecar):
    """The sidecar that writes to MLflow, in the order things are posted."""

    def __init__(self) -> None:
        super().__init__("flows.adapters.mlflow.recorder_process", environment=FEW_ARENAS)
        self._connection = Connection(self.socket.detach())
        self._sending, self._asking = threading.Lock(), threading.Lock()
        self._owed = 0

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


PROCESS = Only(RecorderProcess)


def start() -> RecorderProcess:
    """Let the process begin to import, so that it is ready when it is needed."""
    return PROCESS.running()


class RecorderClient:
    """Recorder of one pipeline run, whose work the sidecar does."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._process = start()
        self._process.post("begin", str(Path.cwd()), dict(os.environ), dict(tags))

    def open(self, stage: str) -> None:
        """A stage began."""
        self._process.post("open", stage)

    def forward(self, stage: str, events: Sequence[Event]) -> None:
        """What a stage told."""
        self._process.post("forward", stage, list(events))

    def finish(self, stage: str, entry: LockEntry) -> None:
        """A stage ended well."""
        self._process.post("finish", stage, entry)

    def fail(self, stage: str, status: str, message: str) -> None:
        """A stage ended otherwise."""
        self._process.post("fail", stage, status, message)

    def flush(self) -> None:
        """Wait until everything told so far is written.

        Raises:
            RootstockError: it cannot be.
        """
        self._process.ask("flush")

    def link(self, entry: LockEntry) -> tuple[str, bool]:
        """The run that made a fresh stage's output, and whether it had to be rebuilt."""
        run, imported = self._process.ask("link", entry)
        return str(run), bool(imported)

    def call(self, function: Callable[..., T], *arguments: Any, say: Callable[[str], None]) -> T:
        """Call a function of a module over there, with the store and output path → run before its
        arguments and ``say`` after them.
        """
        answer: T = self._process.ask("call", function, *arguments, say=say)
        return answer

    def end(self, states: Mapping[str, str], status: str) -> Closed:
        """Close the parent run."""
        closed: Closed = self._process.ask("end", dict(states), status)
        return closed
