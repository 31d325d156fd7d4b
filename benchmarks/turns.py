"""Contenders as processes that take turns: all but the one whose turn it is are stopped, workers and threads included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

SAMPLE = 0.25
"""Seconds between looks at the memory of the contender whose turn it is."""


class Contender:
    """One process and its workers. It computes during its turns and is frozen (SIGSTOP) between them."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("wb"), text=True, start_new_session=True
        )

    def __enter__(self) -> Contender:
        self._answer()  # built and ready
        self._signal(signal.SIGSTOP)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._signal(signal.SIGKILL)
        self.process.wait()

    def turn(self, steps: int) -> dict[str, float]:
        """Let it take some steps: what it answers, and the most memory seen, in MiB."""
        seen, over = [0.0], threading.Event()

        def look() -> None:
            while not over.wait(SAMPLE):
                seen.append(memory(self.process.pid))

        watcher = threading.Thread(target=look)
        self._signal(signal.SIGCONT)
        watcher.start()
        try:
            assert self.process.stdin
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
            answer = self._answer()
        finally:
            over.set()
            watcher.join()
        self._signal(signal.SIGSTOP)
        return {"memory": max(seen), **answer}

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            said = self.log.read_text().strip().splitlines()[-1:] or ["it said nothing"]
            sys.exit(f"a contender died: {said[0]} (all of it in {self.log})")
        answer: dict[str, float] = json.loads(line)
        return answer

    def _signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)


def serve(contender: Any) -> None:
    """The other end: a line with a number of steps in, a line of JSON out."""
    out, sys.stdout = sys.stdout, sys.stderr
    print("{}", file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(contender.turn(int(line))), file=out, flush=True)


def memory(pid: int) -> float:
    """MiB a process and its children hold, a page that several share divided among them; 0 once it is gone."""
    pids, total = [pid], 0.0
    for one in pids:
        try:
            pids += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
            held = next(line for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        total += int(held.split()[1]) / 1024
    return total
