"""Locks: files that one process holds at a time; the kernel releases them when the holder dies."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

Taken = Timeout
"""Raised where another process holds a lock for longer than the caller waits."""


def lock(path: Path, patience: float = -1.0) -> FileLock:
    """Return the lock at a path, to be held by a ``with`` block; makes the folder.

    Args:
        patience: seconds to wait for another holder before :data:`Taken`; negative: for ever.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=patience)
