"""One pipeline run: what its stages share, and how one stage is brought up to date. Knows DVC and MLflow, not Prefect."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows import abandoned, dvc
from flows.dvc import LockEntry, Node, Plan
from flows.environment import git
from flows.events import Event, EventStream
from flows.recording import StageRun, import_run
from flows.tracking import Store, flatten
from stages.core import paths
from stages.core.errors import ConfigError, Refused, RootstockError, StageFailed
from stages.core.io import read_json
from stages.core.progress import clock

Say = Callable[[str], None]
See = Callable[[Event], None]
EXIT = re.compile(r"failed to run: .*, exited with (-?\d+)")
CHATTER = re.compile(
    r"^(Running stage '|> |Updating lock file|Generating lock file|To track the changes|To enable auto staging|\s*git add |"
    r"\s*dvc config core.autostage|Use `dvc push`|Stage '.*' (is cached|didn't change)|ERROR: failed to reproduce|\s*$)"
)
LOCK_FILE = Path("requirements.lock")


class StageDied(StageFailed):
    """A signal ended the stage: nothing is wrong with the request, so it is tried again."""


class Cancelled(StageFailed):
    """The run was asked to stop."""


@dataclass(frozen=True)
class Outcome:
    """What became of one stage in this pipeline run: ran, restored (from DVC's run cache), cached, failed or waiting."""

    stage: str
    state: str
    seconds: float = 0.0
    run: str | None = None
    headline: str = ""
    message: str = ""


@dataclass
class PipelineRun:
    """The state that the stages of one pipeline run share; every field is written by one stage at a time."""

    plan: Plan
    store: Store
    id: str
    tags: Mapping[str, str]
    force: frozenset[str] = frozenset()
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    failure: RootstockError | None = None

    @classmethod
    def start(cls, plan: Plan, store: Store, force: frozenset[str], facts: Mapping[str, str]) -> PipelineRun:
        """Open the parent run in MLflow."""
        abandoned.close(store)
        tags = {**provenance(), **facts}
        return cls(plan, store, store.start("pipeline", None, {"rootstock.kind": "pipeline", **tags}), tags, force)

    def bring_up_to_date(self, name: str, say: Say, log: Say, see: See | None = None) -> Outcome:
        """Run, restore or link one stage. ``say`` goes to console and log, ``log`` to the log only, ``see`` gets events.

        Raises:
            StageDied: a signal ended it.
            RootstockError: it ended with an exit code of its own; the message is the stage's own.
        """
        node = self.plan.nodes[name]
        try:
            reasons = self._reasons(node)
            outcome = self._execute(node, reasons, say, log, see) if reasons else self._link(node, "cached")
        except Exception as cause:
            error = cause if isinstance(cause, RootstockError) else StageFailed(f"{name}: {type(cause).__name__}: {cause}")
            self.failure = self.failure or error
            self.outcomes[name] = Outcome(name, "failed", message=str(error))
            raise error from cause
        self.outcomes[name] = outcome
        return outcome

    def forget_failure(self, name: str) -> None:
        """A retry starts with a clean slate."""
        if self.outcomes.pop(name, None):
            self.failure = None

    def end(self) -> None:
        """Close the parent run with what became of every stage."""
        for name in self.plan.order:
            self.outcomes.setdefault(name, Outcome(name, "waiting", message="not run: a stage above it failed"))
        links = {f"rootstock.stage.{name}": outcome.run for name, outcome in self.outcomes.items() if outcome.run}
        states = {name: self.outcomes[name].state for name in self.plan.order}
        self.store.tag(self.id, {**links, "rootstock.states": json.dumps(states)})
        self.store.end(self.id, "KILLED" if self.cancelled.is_set() else "FAILED" if self.failure else "FINISHED")

    def _reasons(self, node: Node) -> list[str]:
        """Ask again where a stage above has done something: its outputs may be what they were."""
        if node.name in self.force:
            return ["forced"]
        above = [self.outcomes[name] for name in node.upstream if name in self.outcomes]
        if all(outcome.state == "cached" for outcome in above):
            return self.plan.reasons[node.name]
        return dvc.read_reasons(node.name)

    def _execute(self, node: Node, reasons: list[str], say: Say, log: Say, see: See | None) -> Outcome:
        say(f"starts: {'; '.join(reasons[:3])}{' …' if len(reasons) > 3 else ''}")
        began = time.monotonic()
        while (execution := self._once(node, say, log, see)).busy:
            log("another process works on it; waiting")
            self.cancelled.wait(2)
        entry = dvc.read_lock()[node.name]
        if execution.skipped:  # another pipeline was faster, or DVC had it in its run cache
            return self._link(node, "restored" if execution.restored else "cached", time.monotonic() - began)
        execution.finish(entry)
        dvc.remember_code(entry)
        seconds = time.monotonic() - began
        outcome = Outcome(node.name, "ran", seconds, execution.run_id(), headline(node))
        say(f"done in {clock(seconds)}{'  ' + outcome.headline if outcome.headline else ''}")
        return outcome

    def _once(self, node: Node, say: Say, log: Say, see: See | None) -> _Execution:
        """Ask DVC to bring the stage up to date; follow it to its end."""
        execution = _Execution(self, node.name, see)
        with dvc.run_stage(node.name, execution.stream.path, node.name in self.force, self._environment()) as process:
            for line in process.lines():
                if self.cancelled.is_set():
                    process.stop()
                    execution.fail("KILLED", "the run was stopped")
                    raise Cancelled(f"{node.name} was stopped")
                execution.look_after()
                if line is not None:
                    execution.read(line)
                    (log if CHATTER.match(line) else say)(line)
        code = process.wait()
        execution.look_after(last=True)
        if code and not execution.busy:
            raise execution.failure(code)
        return execution

    def _link(self, node: Node, state: str, seconds: float = 0.0) -> Outcome:
        """Name the run that made a fresh stage's output; rebuild it where this store has never seen it."""
        entry = dvc.read_lock()[node.name]
        known = self.store.find(entry.identity)
        imported = None if known else import_run(self.store, entry, self.id, self.made_by, self.tags)
        run = imported or str(known.info.run_id if known else "")
        self.took(entry, run)
        return Outcome(node.name, state, seconds, run, headline(node), "imported" if imported else "")

    def took(self, entry: LockEntry, run: str) -> None:
        """Remember which run made a stage's outputs, for the stages below."""
        self.made_by.update(dict.fromkeys(entry.outputs, run))

    def _environment(self) -> dict[str, str]:
        """What travels to a stage without being part of its identity."""
        return {"ROOTSTOCK_PIPELINE_RUN": self.id}


class _Execution:
    """One execution of one stage as seen from outside: its lines, its events, its MLflow run."""

    def __init__(self, pipeline: PipelineRun, stage: str, see: See | None) -> None:
        self.pipeline, self.stage, self.see = pipeline, stage, see
        self.stream = EventStream.of(stage, pipeline.id[:8])
        self.run: StageRun | None = None
        self.end: Event | None = None
        self.skipped = self.restored = self.busy = False
        self.code: int | None = None
        self.last = ""

    def look_after(self, last: bool = False) -> None:
        """Forward what the stage has told since the last look."""
        for event in self.stream.new():
            self._open().forward(event)
            if self.see:
                self.see(event)
            if event.kind == "end":
                self.end = event
        if self.run:
            self.run.flush(0.0 if last else 2.0)

    def read(self, line: str) -> None:
        """Learn from a line of DVC what became of the command."""
        if line.startswith("Running stage '"):
            self._open()
        self.restored = self.restored or dvc.RESTORED in line
        self.skipped = self.skipped or self.restored or dvc.UNCHANGED in line
        self.busy = self.busy or dvc.BUSY in line
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
        message = str(self.end.fields["message"]) if self.end else self.last
        self.fail("FAILED", message)
        kinds: dict[int, type[RootstockError]] = {1: Refused, 2: ConfigError}
        kind = kinds.get(int(self.end.fields["code"]), StageFailed) if self.end else StageFailed
        return kind(f"{self.stage}: {message}")

    def fail(self, status: str, message: str) -> None:
        """Close the MLflow run of a stage that did not end well."""
        self._open().fail(status, message)

    def finish(self, entry: LockEntry) -> None:
        """Close the MLflow run of a stage that did."""
        self._open().finish(entry, self.pipeline.made_by)
        self.pipeline.took(entry, self.run_id())

    def run_id(self) -> str:
        """The id of its MLflow run."""
        return self._open().id

    def _open(self) -> StageRun:
        if self.run is None:
            self.run = StageRun(self.pipeline.store, self.stage, self.pipeline.id, self.pipeline.tags)
        return self.run


def provenance() -> dict[str, str]:
    """What the code of this run was: commit, whether it was changed since, the locked packages."""
    commit = git("rev-parse", "HEAD")
    if not commit:
        return {"git.commit": "none", "git.dirty": "true"}
    dirty = bool(git("status", "--porcelain", "--untracked-files=no", "--", ":!dvc.lock"))
    locked = hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest() if LOCK_FILE.is_file() else "none"
    return {
        "git.commit": commit,
        "mlflow.source.git.commit": commit,
        "git.dirty": str(dirty).lower(),
        "requirements.sha256": locked,
    }


def headline(node: Node) -> str:
    """The one number that says how a stage went: the key of its metrics file that ``meta.headline`` in dvc.yaml names."""
    path = paths.metrics(node.name)
    if not path.is_file():
        return ""
    metrics = flatten(read_json(path))
    numeric = {key: value for key, value in metrics.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    key = node.headline if node.headline in metrics else next(iter(numeric), None)
    return f"{key} {_short(metrics[key])}" if key is not None else ""


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
