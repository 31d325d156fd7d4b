"""Contenders as processes that take turns: all but the one whose turn it is are stopped, workers
and threads included.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any


class Contender:
    """One process and its workers. It computes during its turns and is frozen (SIGSTOP) between
    them.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Contender:
        try:
            self._answer()  # built and ready
        except BaseException:
            self._signal(signal.SIGKILL)
            raise
        self._signal(signal.SIGSTOP)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signal(signal.SIGKILL)
        self.process.wait()

    def turn(self, steps: int) -> dict[str, float]:
        """Let it take some steps: what it answers, and the most memory it has held so far, in
        MiB.
        """
        self._signal(signal.SIGCONT)
        assert self.process.stdin
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return {"memory": memory(self.process.pid), **answer}

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
    """MiB: the most a process ever held, and what its children hold besides (pages they share with
    it count once).
    """
    held = _kilobytes(f"/proc/{pid}/status", "VmHWM:")
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        held += _kilobytes(f"/proc/{child}/smaps_rollup", "Private_Dirty:")
    return held / 1024


def _kilobytes(file: str, field: str) -> int:
    return next(
        int(line.split()[1])
        for line in Path(file).read_text().splitlines()
        if line.startswith(field)
    )
