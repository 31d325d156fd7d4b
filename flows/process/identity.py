"""Processes that outlive the command that started them: telling one from a later one with its
number, and ending a whole tree.

A process carries a mark in its environment, and so does everything below it, whoever its parent
became and in whichever session it lives: Prefect's worker starts every run in a session of its own
and leaves alone what it was just starting when it ended.
"""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Callable
from pathlib import Path

MARK = "ROOTSTOCK_STARTED_BY"
PROCESS = "rootstock.process"
"""The tag of an MLflow run that names the process which writes it."""
FEW_ARENAS = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""For processes that live long: with an arena per thread glibc keeps what was freed in each of
them.
"""


def began(pid: int) -> str:
    """Clock ticks after boot at which a living process began; empty where there is none (a zombie
    is none).
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else fields[18]


def alive(pid: int, since: str = "") -> bool:
    """Whether a process lives; with ``since``, whether it is the one that began then."""
    found = began(pid)
    return bool(found) and since in ("", found)


def this_process() -> str:
    """Machine, process id and when the process began: a number that is given to another process
    later is not mistaken for it.
    """
    return f"{platform.node()} {os.getpid()} {began(os.getpid())}"


def with_environment(name: str, value: str) -> list[int]:
    """Living processes with this in their environment, this one not among them."""
    wanted, found = os.fsencode(f"{name}={value}"), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def end(mark: str, grace: float) -> None:
    """Ask every process with the mark to end, those that begin meanwhile too; kill what lives after
    ``grace`` seconds.
    """
    asked = set[int]()

    def gone() -> bool:
        living = with_environment(MARK, mark)
        for pid in set(living) - asked:
            tell(pid, signal.SIGTERM)
        asked.update(living)
        return not living

    if not wait_for(grace, gone):
        while living := with_environment(MARK, mark):
            for pid in living:
                tell(pid, signal.SIGKILL)
            time.sleep(0.05)


def tell(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_for(seconds: float, happens: Callable[[], bool]) -> bool:
    """Wait until something happens, so long at most; returns whether it did."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
