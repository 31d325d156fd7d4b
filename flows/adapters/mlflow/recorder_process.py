"""``python -m flows.adapters.mlflow.recorder_process FD``: the process that keeps the books for
:mod:`flows.adapters.mlflow.recorder_client`, and ends with its asker.
"""

from __future__ import annotations

import _thread
import gc
import importlib
import os
import select
import signal
import sys
import threading
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING, Any

from flows.process.sidecar import adopt
from stages.core.errors import RootstockError, StageFailed

if TYPE_CHECKING:
    from flows.adapters.mlflow.recorder import RunRecorder

MODULES = (
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.entities",
    "flows.adapters.mlflow.recorder",
)
GRACE = 10
"""Seconds the process has to close its books after the run it kept them for is gone."""


class Desk:
    """The other end: takes what comes, in order. After an error nothing more is written until the
    next run begins.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._recorder: RunRecorder | None = None
        self._error: RootstockError | None = None
        self._leaving = False

    def serve(self) -> None:
        """Until the asker is gone, by whatever death: what it was doing is dropped then, and its
        run closed if it is open.
        """
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            try:
                threading.Thread(target=self._watch, daemon=True).start()
                while True:
                    if self._connection.poll(1.0):
                        self._take(*self._connection.recv())
                    elif self._recorder:
                        self._recorder.flush()
            finally:
                # the end is noticed here and by the watch at the same moment: from now on its
                # interrupt stops nothing
                self._leaving = True
        except (EOFError, ConnectionError, KeyboardInterrupt):
            self._abandon()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._leaving:
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """A long promotion must not go on after its run was killed, nor wait for a server that does
        not answer.
        """
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
            if self._recorder:  # told; where nothing could be opened it stays true
                self._error = None

    def _abandon(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder:
            recorder.abandon()

    def _do(self, what: str, arguments: tuple[Any, ...]) -> Any:
        if what == "begin":
            return self._begin(*arguments)
        assert self._recorder is not None
        if what == "call":
            return self._recorder.call(
                *arguments, say=lambda line: self._connection.send(("line", line))
            )
        content = getattr(self._recorder, what)(*arguments)
        if what == "end":
            self._recorder = None
            os.chdir("/")
        return content

    def _begin(self, folder: str, environment: dict[str, str], tags: dict[str, str]) -> None:
        from flows.adapters.mlflow.recorder import RunRecorder
        from flows.adapters.mlflow.store import Store

        adopt(folder, environment)
        self._recorder = RunRecorder.begin(Store.open(), tags)


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
