"""Stage execution: how one stage is started, here or in a work pool, and followed to its end."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from flows.adapters.dvc import client, plan
from flows.adapters.mlflow.recorder import Recorder
from flows.pipeline.remote import client as remote
from flows.process.stage_events import Event, EventStream
from flows.process.supervised import SupervisedProcess
from stages.core.errors import ConfigError, Refused, RootstockError, StageFailed

See = Callable[[Event], None]
EXIT = re.compile(r"failed to run: .*, exited with (-?\d+)")
CHECK = 5.0
"""Seconds between two looks whether MLflow still takes what is told."""


class StageDied(StageFailed):
    """A signal ended the stage: nothing is wrong with the request, so it is tried again."""


def run_stage(
    name: str, events: Path, force: bool = False, pool: str | None = None
) -> SupervisedProcess:
    """Start one stage in a process group of its own, here or by a worker of ``pool``; parallel ones
    wait for DVC's lock.
    """
    settings = {
        "ROOTSTOCK_EVENTS": str(events.resolve()),
        "PYTHONUNBUFFERED": "1",
        "SHELL": "/bin/sh",
    }
    arguments = ["--wait-for-lock", "repro", "-s", name, *(["--force"] if force else [])]
    return remote.run(pool, arguments, settings) if pool else client.run(arguments, settings)


class StageExecution:
    """One execution of one stage as seen from outside: its lines, its events, its MLflow run."""

    def __init__(self, recorder: Recorder, stage: str, run: str, see: See | None) -> None:
        self.recorder, self.stage, self.see = recorder, stage, see
        self.stream = EventStream.of(stage, run)
        self._checked = time.monotonic()
        self.end: Event | None = None
        self.skipped = self.restored = self.busy = False
        self.code: int | None = None
        self.last = ""

    def look_after(self) -> None:
        """Forward what the stage has told since the last look; now and then ask whether it could be
        written.
        """
        if events := list(self.stream.new()):
            self.recorder.forward(self.stage, events)
        for event in events:
            if self.see:
                self.see(event)
            if event.kind == "end":
                self.end = event
        if time.monotonic() - self._checked > CHECK:
            self._checked = time.monotonic()
            self.recorder.flush()

    def read(self, line: str) -> None:
        """Learn from a line of DVC what became of the command."""
        if line.startswith("Running stage '"):
            self.recorder.open(self.stage)
        self.restored = self.restored or plan.RESTORED in line
        self.skipped = self.skipped or self.restored or plan.UNCHANGED in line
        self.busy = self.busy or plan.BUSY in line
        if found := EXIT.search(line):
            self.code = int(found[1])
        if line.strip():
            self.last = line.removeprefix("ERROR: ")

    def failure(self, code: int) -> RootstockError:
        """The error that tells what happened, with the exit code it stands for."""
        ended = self.code if self.code is not None else code
        number = -ended if ended < 0 else ended - 128
        if (self.code is not None or code > 128) and number in set(signal.Signals):
            message = f"{self.stage} was ended by {signal.Signals(number).name}"
            self.fail("KILLED", message)
            return StageDied(message)
        own = str(self.end.fields["message"]) if self.end else ""
        message = (
            own or self.last
        )  # a stage that ended well and whose outputs DVC could not keep has nothing to say
        self.fail("FAILED", message)
        kinds: dict[int, type[RootstockError]] = {1: Refused, 2: ConfigError}
        kind = kinds.get(int(self.end.fields["code"]), StageFailed) if self.end else StageFailed
        return kind(f"{self.stage}: {message}")

    def fail(self, status: str, message: str) -> None:
        """Close the MLflow run of a stage that did not end well."""
        self.recorder.fail(self.stage, status, message)
