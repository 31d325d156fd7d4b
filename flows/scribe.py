"""Somebody else keeps the books: a process that has MLflow imported, so that neither its import nor its writing delays a stage.

``python -m flows.scribe FD`` is that process; :class:`Scribe` is how a pipeline run speaks to it. What needs no answer is
posted and comes back at once; an error of such a letter is raised by whatever is asked next.
"""

from __future__ import annotations

import _thread
import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from stages.core.errors import RootstockError, StageFailed

if TYPE_CHECKING:
    from flows.dvc import LockEntry
    from flows.events import Event
    from flows.ledger import Closed, Ledger
    from flows.promotion import Promotion
    from stages.core.params import Promote

MODULES = ("mlflow.store.tracking.sqlalchemy_store", "mlflow.entities", "flows.ledger")
GRACE = 10
"""Seconds the process has to close its books after the run it kept them for is gone."""
ENDED = "the process that writes to MLflow ended without a word (out of memory?); rootstock run continues where this one stopped"
_STARTING = threading.Lock()
_office: Office | None = None


class Office:
    """The connection to the process; one for the life of this one."""

    def __init__(self) -> None:
        from flows.server import FEW_ARENAS
        from flows.warm import beside

        ours, theirs = socket.socketpair()
        with theirs:
            self._process = beside("flows.scribe", theirs.fileno(), **FEW_ARENAS)
        self.owner = os.getpid()
        self._connection = Connection(ours.detach())
        self._sending, self._asking = threading.Lock(), threading.Lock()

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
            while True:
                try:
                    kind, content = self._connection.recv()
                except (EOFError, ConnectionError):
                    raise StageFailed(ENDED) from None
                if kind == "line":
                    say(content)
                elif kind == "error":
                    raise content
                else:
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


class Scribe:
    """The books of one pipeline run, kept beside it: :class:`flows.ledger.Ledger` at the other end of a line."""

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

    def promote(self, settings: Promote, say: Callable[[str], None]) -> Promotion:
        """Register the model and let its gates decide."""
        found: Promotion = self._office.ask("promote", settings, say=say)
        return found

    def end(self, states: Mapping[str, str], status: str) -> Closed:
        """Close the parent run."""
        closed: Closed = self._office.ask("end", dict(states), status)
        return closed


class Desk:
    """The other end: takes what comes, in order. After an error nothing more is written until the next run begins."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ledger: Ledger | None = None
        self._error: RootstockError | None = None
        self._leaving = False

    def serve(self) -> None:
        """Until the asker is gone, by whatever death: what it was doing is dropped then, and its run closed if it is open."""
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            try:
                threading.Thread(target=self._watch, daemon=True).start()
                while True:
                    if self._connection.poll(1.0):
                        self._take(*self._connection.recv())
                    elif self._ledger:
                        self._ledger.flush()
            finally:  # the end is noticed here and by the watch at the same moment: from now on its interrupt stops nothing
                self._leaving = True
        except (EOFError, ConnectionError, KeyboardInterrupt):
            self._abandon()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._leaving:
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """A long promotion must not go on after its run was killed, nor wait for a server that does not answer."""
        line = select.poll()
        line.register(self._connection.fileno(), select.POLLRDHUP)
        line.poll()
        signal.alarm(GRACE)
        _thread.interrupt_main()

    def _take(self, answer: bool, what: str, arguments: tuple[Any, ...]) -> None:
        content = None
        if what == "begin":
            self._error = None
            self._abandon()
            gc.collect()  # of what the last run left
        if self._error is None:
            try:
                content = self._do(what, arguments)
            except RootstockError as error:
                self._error = error
            except Exception as error:
                self._error = StageFailed(f"writing to MLflow: {type(error).__name__}: {error}")
        if answer:
            self._connection.send(("error", self._error) if self._error else ("done", content))
            if self._ledger:  # told; where nothing could be opened it stays true
                self._error = None

    def _abandon(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger:
            ledger.abandon()

    def _do(self, what: str, arguments: tuple[Any, ...]) -> Any:
        if what == "begin":
            return self._begin(*arguments)
        assert self._ledger is not None
        if what == "promote":
            return self._ledger.promote(arguments[0], lambda line: self._connection.send(("line", line)))
        content = getattr(self._ledger, what)(*arguments)
        if what == "end":
            self._ledger = None
            os.chdir("/")
        return content

    def _begin(self, folder: str, environment: dict[str, str], tags: dict[str, str]) -> None:
        from flows.ledger import Ledger
        from flows.tracking import Store

        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        self._ledger = Ledger.begin(Store.open(), tags)


def main() -> None:
    """Import what writing needs, then serve."""
    gc.set_threshold(100_000, 20, 20)
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    Desk(Connection(int(sys.argv[1]))).serve()
    os._exit(0)  # taking a thousand modules down in order would take longer than anything it did


if __name__ == "__main__":
    main()
