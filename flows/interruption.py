"""Ctrl-C and SIGTERM, which may fall into any line of any library.

Raised where it falls, KeyboardInterrupt may fall into an import, whose lock then stays locked for every thread, or into a call of
Prefect's that takes it for its own: runs hung, went on as if nothing had happened, or ended in a library's traceback. So it is
raised nowhere: a command ends at once, and what leads stages or cells is told and stops them in its own time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from stages.core.errors import StageFailed

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Ctrl-C ends this process in one line. What it started ends with it, and what it was writing was never there."""

    def leave(number: int, frame: FrameType | None) -> None:
        end("stopped")

    with _handled((signal.SIGINT,), leave):
        yield


@contextmanager
def stoppable(stopped: threading.Event | None = None) -> Iterator[threading.Event]:
    """The first SIGTERM or Ctrl-C sets the event, which whoever leads looks at; the second ends this process at once.

    A flow does this again, with the event there is: Prefect has a handler of its own around it, which raises where it falls.
    """
    stopped = stopped or threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            end("stopped at once")
        stopped.set()
        if os.isatty(2):
            os.write(2, b"\nrootstock: stopping; Ctrl-C again stops at once\n")

    with _handled((signal.SIGTERM, signal.SIGINT), note):
        yield stopped


def end(message: str) -> None:
    """Say one line and end now: at a normal exit Prefect would wait for answers of a server that is already gone."""
    with suppress(RuntimeError, OSError):  # a signal may have come while just this was written
        sys.stdout.flush()
        sys.stderr.flush()
    os.write(2, f"{chr(10) * os.isatty(2)}rootstock: {message}\n".encode())
    os._exit(StageFailed.exit_code)


@contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be had
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
