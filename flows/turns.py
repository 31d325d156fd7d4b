"""Whose turn it is in a project folder: runs go side by side, but params.yaml changes only while none of them reads it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from stages.core import paths

LOCK = paths.STATE / "params.lock"
WAITING = "another run works in this folder with its own parameters: waiting for it to end"
_mine = False


@contextmanager
def turn(change: bool) -> Iterator[None]:
    """Keep params.yaml as it is inside the block; with ``change`` be the only one, who may change it.

    The lock is the kernel's: it ends with this process. Inside another turn of this process it is that one.
    """
    global _mine
    if _mine:
        yield
        return
    LOCK.parent.mkdir(exist_ok=True)
    kind = fcntl.LOCK_EX if change else fcntl.LOCK_SH
    with LOCK.open("a") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            print(WAITING, flush=True)
            fcntl.flock(file, kind)
        _mine = True
        try:
            yield
        finally:
            _mine = False
