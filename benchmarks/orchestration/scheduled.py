"""Scheduled no-op runs as a user has them: ``rootstock up``, ``rootstock deploy --interval`` on a
finished project, and waiting.

Runs follow one another (``schedule.overlap: queue``). Memory is that of the two servers and the
worker when a run has ended: the median after run 20 and the two that follow it, and of the last
three. Printed meanwhile: each run, and when the last is due.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.orchestration import memory
from benchmarks.orchestration.project import Row
from benchmarks.orchestration.service import Service
from benchmarks.support.checkout import QUICKLY, checkout

EVERY = "7s"
WARM = 20
LOCKED = "database is locked"
GOOD = "Cached"
"""The state of a run that found nothing to do."""
SKIPPED = "Skipped"
"""The state of one that waited while a later one did, too: on a busy machine runs take longer than
the time between them.
"""


def measure(runs: int) -> Row:
    """The row."""
    os.environ.pop("PREFECT_API_URL", None)
    with tempfile.TemporaryDirectory() as folder:
        served = Service(checkout(Path(folder).resolve() / "project"))
        say("the quick pipeline on the digits, once")
        served.project.rootstock("run", *QUICKLY, "--set", "schedule.overlap=queue")
        try:
            served.project.rootstock("up")
            served.project.rootstock("deploy", "--interval", EVERY)
            looks, ends = follow(served, runs)
        finally:
            served.project.rootstock("down")
        left = len(served.processes())
        locked = served.said(LOCKED)
    warm = min(WARM, max(runs // 2, 1))
    before, after = memory.median(looks[warm - 1 : warm + 2]), memory.median(looks[-3:])
    others = (
        ", ".join(f"{count} {name}" for name, count in sorted(ends.items()) if name != GOOD)
        or "none other"
    )
    words = (
        f"{memory.growth(before, after):.1f} %, {left}, {locked} ({ends[GOOD]} runs ended Cached,"
        f" {others}; MB after run {warm} and at the end: {memory.text(before)};"
        f" {memory.text(after)})"
    )
    return (
        (
            f"{runs} scheduled no-op runs: memory growth, processes after `down`, locked-database"
            " errors"
        ),
        "5 %, 0, 0",
        words,
    )


def follow(served: Service, runs: int) -> tuple[list[memory.Look], Counter[str]]:
    """Wait until so many runs have ended well; returns a look at memory after each, and the names
    of the states of all.

    Raises:
        SystemExit: as many ended otherwise.
    """
    looks, ends, began = list[memory.Look](), Counter[str](), time.monotonic()
    while len(looks) < runs:
        time.sleep(0.5)
        try:
            ends = served.ends()
        except TimeoutError:
            say("Prefect's server has not answered for a minute; asking again")
            continue
        if sum(ends.values()) - ends[GOOD] - ends[SKIPPED] >= runs:
            raise SystemExit(f"of the scheduled runs there ended {dict(ends)}")
        if ends[GOOD] > len(looks):
            looks += [served.look()] * (ends[GOOD] - len(looks))
            left = (time.monotonic() - began) / len(looks) * (runs - len(looks))
            say(
                f"run {len(looks)} of {runs}, {left / 60:.0f} minutes to go:"
                f" {memory.text(looks[-1])}"
            )
    return looks, ends


def say(line: str) -> None:
    """To whoever waits."""
    print(line, file=sys.stderr, flush=True)
