"""Ctrl-C and SIGTERM, which may fall into any line of any library.

Raised where it falls, KeyboardInterrupt may fall into an import, whose lock then stays locked for
every thread, or into a call of Prefect's that takes it for its own: runs hung, went on as if
nothing had happened, or ended in a library's traceback. So it is raised nowhere: a command ends at
once, and what leads stages or cells is told and stops them in its own time.
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
_advice = [""]
"""What to do about it, the innermost last."""


@contextmanager
def ends_at_once(advice: str = "") -> Iterator[None]:
    """Ctrl-C ends this process in one line. What it started ends with it, and what it was writing
    was never there.

    Args:
        advice: what whoever stopped it may want to do next; said whenever the process is ended
            within.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        end("stopped")

    _advice.append(advice or _advice[-1])
    try:
        with _handled((signal.SIGINT,), leave):
            yield
    finally:
        _advice.pop()


@contextmanager
def stoppable(stopped: threading.Event | None = None) -> Iterator[threading.Event]:
    """The first SIGTERM or Ctrl-C sets the event, which whoever leads looks at; the second ends
    this process at once.

    A flow does this again, with the event there is: Prefect has a handler of its own around it,
    which raises where it falls.
    """
    stopped = stopped or threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            end("stopped at once")
        stopped.set()
        if os.isatty(2):
            os.write(2, b"\nrootstock: stopping, what runs is kept; Ctrl-C again stops at once\n")

    with _handled((signal.SIGTERM, signal.SIGINT), note):
        yield stopped


def end(message: str, advice: str = "") -> None:
    """Say one line, with what to do about it, and end: at a normal exit Prefect would wait for a
    server that is gone.
    """
    with suppress(RuntimeError, OSError):  # a signal may have come while just this was written
        sys.stdout.flush()
        sys.stderr.flush()
    line = "; ".join(filter(None, (message, advice or _advice[-1])))
    os.write(2, f"{chr(10) * os.isatty(2)}rootstock: {line}\n".encode())
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
