"""``python supervise.py COMMAND…``: run one command so that nothing of it outlives the process that
asked for it.

Standard input is the life line. While its writer lives, the command runs; the line ``stop`` asks it
politely to end (a training stage then writes its checkpoint); when the writer is gone, by whatever
death, everything is killed at once. As subreaper this process inherits every orphan of the command,
so even a descendant that left the process group is found. It imports nothing but the standard
library: it must start in no time and cannot fail for want of a package.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

TYPE_CHECKING = False  # importing typing would double the time this needs to start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Child(Protocol):
        """A process that was started."""

        def poll(self) -> int | None:
            """The exit code, negative where a signal ended it; None while it runs."""

        def wait(self) -> int:
            """The exit code, once there is one."""


PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE = 20.0
LIBC = ctypes.CDLL(None, use_errno=True)


def supervise(start: Callable[[], Child]) -> int:
    """Run what ``start`` starts, which dies with this process; return its exit code, 128 + n where
    signal n ended it.
    """
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer)
    stops: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: stops.append(received))
    child = start()
    deadline = None
    watched = [0, wake_reader]
    while child.poll() is None:
        remaining = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        ready, _, _ = select.select(watched, [], [], remaining)
        if wake_reader in ready:
            os.read(wake_reader, 4096)
        order = os.read(0, 4096) if 0 in ready else None
        if order == b"":
            break
        if deadline is not None and time.monotonic() >= deadline:
            break
        if (order or stops) and deadline is None:
            deadline = time.monotonic() + GRACE
            for process in descendants():
                _signal(process, signal.SIGTERM)
    _kill_all()
    code = child.wait()
    return code if code >= 0 else 128 - code


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _kill_all() -> None:
    while processes := descendants():
        for process in processes:
            _signal(process, signal.SIGKILL)
        time.sleep(0.01)
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return


def _signal(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def descendants(of: int | None = None) -> list[int]:
    """Every living process below this one, or below another."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    waiting = [of or os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


if __name__ == "__main__":
    sys.exit(
        supervise(
            lambda: subprocess.Popen(
                sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=die_with_parent
            )
        )
    )
