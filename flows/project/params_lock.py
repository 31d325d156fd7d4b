"""Whose turn it is in a project folder: runs go side by side, but params.yaml changes only while
none of them reads it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from stages.core import paths
from stages.core.errors import ConfigError

LOCK = paths.STATE / "params.lock"
WAITING = "another run works in this folder with its own parameters: waiting for it to end"
_mine = False


@contextmanager
def turn(change: bool) -> Iterator[None]:
    """Keep params.yaml as it is inside the block; with ``change`` be the only one, who may change
    it.

    The lock is the kernel's: it ends with this process. Inside another turn of this process it is
    that one.

    Raises:
        ConfigError: the project's folder cannot be written.
    """
    global _mine
    if _mine:
        yield
        return
    kind = fcntl.LOCK_EX if change else fcntl.LOCK_SH
    with _opened() as file:
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


def _opened() -> IO[str]:
    try:
        LOCK.parent.mkdir(exist_ok=True)
        return LOCK.open("a")
    except OSError as error:
        raise ConfigError(f"{LOCK.resolve()} cannot be written: {error.strerror}") from None
