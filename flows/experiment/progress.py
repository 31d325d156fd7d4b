"""What an experiment says while no cell ends: how many are done, how long the others will take,
what is being worked on.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from statistics import mean

from flows.experiment.design import Cell
from flows.experiment.state import ExperimentState
from stages.core.progress import Status, clock

EVERY = 10.0
TAIL = 4096
WIDTH = 160
"""Signs of a line in a pipe."""


class Pace:
    """A line that moves on a terminal, and a whole one every ten seconds in a pipe.

    Time left: as long as the cells before that made something took on average, ``jobs`` at a time;
    before the first of them has ended nobody knows.
    """

    def __init__(self, board: ExperimentState, jobs: int) -> None:
        self.board, self.jobs = board, jobs
        self.status = Status(EVERY)
        self.began = time.time()
        self.took: list[float] = []

    def end(self, line: str, seconds: float | None) -> None:
        """A cell ended, of which ``line`` tells: after so many seconds, or None where it found
        everything made already.
        """
        if seconds is not None:
            self.took.append(seconds)
        self.status.clear()
        print(line, flush=True)

    def look(self, waiting: list[Cell], total: int) -> None:
        """Say where things are, when it is time to."""
        if not self.status.due:
            return
        left = (
            f", about {clock(mean(self.took) * len(waiting) / self.jobs)} left" if self.took else ""
        )
        done = f"{total - len(waiting):>4}/{total} │ {clock(time.time() - self.began)}{left}"
        width = shutil.get_terminal_size().columns - 1 if self.status.moving else WIDTH
        self.status.show(f"{done}{self._at_work(waiting)}"[:width])

    def _at_work(self, waiting: list[Cell]) -> str:
        """The cell that last said something in this session, and what."""
        logs = {
            cell.label: log
            for cell in waiting
            if (log := self.board.log(cell.identity)).is_file() and log.stat().st_size
        }
        times = {label: log.stat().st_mtime for label, log in logs.items()}
        label = max(times, key=times.__getitem__, default=None)
        if label is None or times[label] < self.began:
            return ""
        return f" │ {label}: {last_line(logs[label])}"


def last_line(file: Path) -> str:
    """The last line of a log that has something in it, blanks folded; empty where none has."""
    with file.open("rb") as stream:
        stream.seek(max(file.stat().st_size - TAIL, 0))
        lines = [
            " ".join(line.split()) for line in stream.read().decode(errors="replace").splitlines()
        ]
    return next((line for line in reversed(lines) if line), "")
