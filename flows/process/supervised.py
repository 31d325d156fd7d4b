"""Start a program under supervision: its lines come live, and it never outlives this process."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

SUPERVISOR = Path(__file__).with_name("supervisor.py")
LONGEST_LINE = 2000


class Process(Protocol):
    """A supervisor that was started, and what it says about its command."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    pid: int

    def poll(self) -> int | None:
        """The exit code; None while it runs."""

    def wait(self) -> int:
        """The exit code, once there is one."""


class SupervisedProcess:
    """A command in its own process group below :mod:`flows.process.supervisor`; ``lines`` yields
    its output until it ends.
    """

    def __init__(
        self,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        capture: bool = True,
        process: Process | None = None,
    ) -> None:
        self._process: Process = process or subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if capture else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if capture else subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> SupervisedProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.wait()
        else:
            self.stop()

    def lines(self, every: float = 0.2) -> Iterator[str | None]:
        """Lines as they come; None at least every ``every`` seconds, so that the caller can look
        after other things.
        """
        while True:
            try:
                line = self._lines.get(timeout=every)
            except queue.Empty:
                yield None
                continue
            if line is None:
                return
            yield line

    @property
    def running(self) -> bool:
        """Whether the command still runs."""
        return self._process.poll() is None

    def wait(self) -> int:
        """The exit code, 128 + n where signal n ended it. Nothing of the process group is left
        afterwards.
        """
        code = self._process.wait()
        self._kill_group()
        return code if code >= 0 else 128 - code

    def stop(self) -> int:
        """Ask the command to end; kill what has not ended after the supervisor's grace."""
        self.ask_to_stop()
        return self.wait()

    def ask_to_stop(self) -> None:
        """As ``stop``, without waiting for the end."""
        self._order(b"stop\n")

    def kill(self) -> int:
        """End the command at once."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.wait()

    def _order(self, order: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(order)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return

    def _read(self) -> None:
        if self._process.stdout is not None:
            with self._process.stdout as stream:
                watcher = threading.Thread(
                    target=self.wait, daemon=True
                )  # an orphan may hold the pipe open; the watcher ends it
                watcher.start()
                for raw in stream:
                    self._lines.put(_clean(raw))
        self._process.wait()
        self._lines.put(None)

    def _kill_group(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


def _clean(raw: bytes) -> str:
    """One line as a log takes it: the last state of a moving line, control characters gone, cut
    where Prefect would drop it.
    """
    text = raw.decode(errors="replace").rstrip("\r\n").rsplit("\r", 1)[-1]
    text = "".join(sign for sign in text if sign.isprintable() or sign == "\t")
    return (
        text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} … ({len(text):,} characters)"
    )
