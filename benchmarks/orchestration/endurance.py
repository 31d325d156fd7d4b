"""No-op runs one after the other in one process, against a server that stays.

Memory is looked at after the runs that end the warm-up, a tenth of all, and after the last three; a
garbage collection before each look.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from pathlib import Path

from benchmarks.orchestration import memory
from benchmarks.orchestration.project import ROOT, Row, project
from flows.process.supervisor import descendants
from flows.project import environment

OURS = "the runs' process"
BESIDE = ("flows.adapters.dvc.fork_server", "flows.adapters.mlflow.recorder_process", "uvicorn")


def measure(runs: int) -> Row:
    """The row."""
    here, warm_up = Path.cwd(), runs // 10
    with project() as made:
        for number in range(3):
            made.stage(
                f"s{number}" if number < 2 else "last", 0, (f"s{number - 1}",) if number else ()
            )
        made.commit()
        os.environ["PYTHONPATH"] = str(ROOT)
        environment.enter(made.root)
        locked, looks, before = 0, list[memory.Look](), 0
        for number in range(runs):
            locked += _run()
            if number == warm_up:
                before = len(descendants())
            looks.append(_look())
            if number % 20 == 0:
                print(f"run {number}: {memory.text(looks[-1])}", file=sys.stderr, flush=True)
        leaked = len(descendants()) - before
        os.chdir(here)
    warm, last = memory.median(looks[warm_up : warm_up + 3]), memory.median(looks[-3:])
    words = (
        f"{memory.growth(warm, last):.1f} %, {leaked}, {locked} ({runs} runs,"
        f" {threading.active_count()} threads at the end; "
    )
    words += f"MB after run {warm_up} and at the end: {memory.text(warm)}; {memory.text(last)})"
    return (
        f"{runs} no-op runs: memory growth, leaked processes, locked-database errors",
        "5 %, 0, 0",
        words,
    )


def _run() -> bool:
    """One run; whether a locked database ended it."""
    from flows.pipeline.flow import run_pipeline
    from flows.pipeline.request import RunRequest

    try:
        with contextlib.redirect_stdout(None):
            run_pipeline(RunRequest())
    except Exception as error:
        if "locked" not in str(error):
            raise
        return True
    return False


def _look() -> memory.Look:
    """This process, those beside it that import DVC and write to MLflow, and Prefect's server."""
    gc.collect()
    found = {OURS: memory.resident([os.getpid()]), **dict.fromkeys(BESIDE, 0.0)}
    for pid in descendants():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            for name in set(BESIDE) & set(words):
                found[name] += memory.resident([pid])
    return found
