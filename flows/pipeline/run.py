"""One pipeline run: what its stages share, and how one stage is brought up to date. Knows DVC and
MLflow, not Prefect.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from flows.adapters.dvc import client, lockfile, staleness
from flows.adapters.dvc import plan as dvc
from flows.adapters.dvc.plan import Node, Plan
from flows.adapters.mlflow.recorder import Closed, Recorder
from flows.adapters.mlflow.store import flatten
from flows.pipeline import data_checks
from flows.pipeline.stage import See, StageExecution, run_stage
from stages.core import paths
from stages.core.errors import DataError, RootstockError, StageFailed
from stages.core.io import read_json, write_json
from stages.core.params import load_params
from stages.core.progress import clock

Say = Callable[[str], None]
CHATTER = re.compile(
    r"^(Running stage '|> |Updating lock file|Generating lock file|To track the changes|To enable"
    r" auto staging|\s*git add |"
    r"\s*dvc config core.autostage|Use `dvc push`|Stage '.*' (is cached|didn't change)|ERROR:"
    r" failed to reproduce|\s*$)"
)
TRAINED = frozenset({str(paths.PRETRAINED), str(paths.DISTILLED)})
TIMES = paths.STATE / "seconds.json"
"""How long stages took when they last ran here, for plans."""


class Cancelled(StageFailed):
    """The run was asked to stop."""


WITH_LABELS, WITHOUT_LABELS = frozenset({"knn", "accuracy"}), "rankme"
"""Headlines that need labels, and what an encoder is measured by where there are none."""


@dataclass(frozen=True)
class Outcome:
    """What became of one stage in this pipeline run: ran, restored (from DVC's run cache), cached,
    failed or waiting.
    """

    stage: str
    state: str
    seconds: float = 0.0
    run: str | None = None
    headline: str = ""
    message: str = ""


@dataclass
class PipelineRun:
    """The state that the stages of one pipeline run share; every field is written by one stage at a
    time.
    """

    plan: Plan
    recorder: Recorder
    force: frozenset[str] = frozenset()
    pool: str | None = None
    key: str = field(default_factory=lambda: uuid4().hex[:8])
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    failure: RootstockError | None = None
    closed: Closed | None = None
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def bring_up_to_date(self, name: str, say: Say, log: Say, see: See | None = None) -> Outcome:
        """Run, restore or link one stage. ``say`` goes to console and log, ``log`` to the log only,
        ``see`` gets events.

        Raises:
            StageDied: a signal ended it.
            RootstockError: it ended with an exit code of its own; the message is the stage's own.
        """
        node = self.plan.nodes[name]
        try:
            reasons = self._reasons(node)
            outcome = (
                self._execute(node, reasons, say, log, see)
                if reasons
                else self._link(node, "cached")
            )
            if outcome.state != "cached" and makes_pool(node) and trains(self.plan):
                data_checks.check_data(
                    load_params(), made=True
                )  # what is known of the images is known from here on
        except Exception as cause:
            error = (
                cause
                if isinstance(cause, RootstockError)
                else StageFailed(f"{name}: {type(cause).__name__}: {cause}")
            )
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
            self.outcomes.setdefault(
                name, Outcome(name, "waiting", message="not run: a stage above it failed")
            )
        states = {name: self.outcomes[name].state for name in self.plan.order}
        status = "KILLED" if self.cancelled.is_set() else "FAILED" if self.failure else "FINISHED"
        try:
            self.closed = self.recorder.end(states, status)
        except RootstockError as error:
            self.failure = self.failure or error
            return
        self.outcomes.update(
            {
                name: replace(self.outcomes[name], run=run)
                for name, run in self.closed.stages.items()
            }
        )

    def _reasons(self, node: Node) -> list[str]:
        """Ask again where a stage above has done something: its outputs may be what they were."""
        if node.name in self.force:
            return ["forced"]
        above = [self.outcomes[name] for name in node.upstream if name in self.outcomes]
        if all(outcome.state == "cached" for outcome in above):
            return self.plan.reasons[node.name]
        return client.call(dvc.read_reasons, node.name)

    def _execute(
        self, node: Node, reasons: list[str], say: Say, log: Say, see: See | None
    ) -> Outcome:
        say(f"starts: {'; '.join(reasons[:3])}{' …' if len(reasons) > 3 else ''}")
        began = time.monotonic()
        told = False
        while (execution := self._once(node, say, log, see)).busy:
            if not told:
                say("another run works on it; waiting for that one to end")
                told = True
            self.cancelled.wait(2)
        entry = lockfile.read_entry(node.name)
        if execution.skipped:  # another pipeline was faster, or DVC had it in its run cache
            return self._link(
                node, "restored" if execution.restored else "cached", time.monotonic() - began
            )
        self.recorder.finish(node.name, entry)
        staleness.remember(entry)
        seconds = time.monotonic() - began
        self._remember_seconds(node.name, seconds)
        outcome = Outcome(node.name, "ran", seconds, headline=headline(node))
        say(f"done in {clock(seconds)}{'  ' + outcome.headline if outcome.headline else ''}")
        return outcome

    def _remember_seconds(self, name: str, seconds: float) -> None:
        with self._writing:
            write_json(TIMES, {**known_seconds(), name: round(seconds, 1)})

    def _once(self, node: Node, say: Say, log: Say, see: See | None) -> StageExecution:
        """Ask DVC to bring the stage up to date; follow it to its end."""
        if self.cancelled.is_set():
            raise Cancelled(f"{node.name} was not begun: the run was stopped")
        execution = StageExecution(self.recorder, node.name, self.key, see)
        with run_stage(
            node.name, execution.stream.path, node.name in self.force, self.pool
        ) as process:
            for line in process.lines():
                if self.cancelled.is_set():
                    process.stop()
                    execution.fail("KILLED", "the run was stopped")
                    raise Cancelled(f"{node.name} was stopped")
                execution.look_after()
                if line is not None:
                    execution.read(line)
                    (log if execution.busy or CHATTER.match(line) else say)(line)
        code = process.wait()
        execution.look_after()
        if code and not execution.busy:
            raise execution.failure(code)
        return execution

    def _link(self, node: Node, state: str, seconds: float = 0.0) -> Outcome:
        """Name the run that made a fresh stage's output; rebuild it where this store has never seen
        it.
        """
        run, imported = self.recorder.link(lockfile.read_entry(node.name))
        return Outcome(
            node.name, state, seconds, run, headline(node), "imported" if imported else ""
        )


def makes_pool(node: Node) -> bool:
    """Return whether a stage makes the images that all others read."""
    return str(paths.POOL) in node.outputs


def trains(plan: Plan) -> bool:
    """Return whether a plan leads to a trained network."""
    return any(output in TRAINED for node in plan.nodes.values() for output in node.outputs)


def known_seconds() -> dict[str, float]:
    """Stage → seconds it took last time; of a file that is damaged nothing is known, and nothing
    depends on it.
    """
    try:
        known = read_json(TIMES)
    except (DataError, OSError):
        return {}
    return known if isinstance(known, dict) else {}


def headline(node: Node) -> str:
    """The one number that says how a stage went: the key of its metrics file that ``meta.headline``
    in dvc.yaml names.
    """
    path = paths.metrics(node.name)
    if not path.is_file():
        return ""
    metrics = flatten(read_json(path))
    numeric = {
        key: value
        for key, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if (
        node.headline in WITH_LABELS
        and metrics.get(node.headline) is None
        and WITHOUT_LABELS in numeric
    ):
        return f"{WITHOUT_LABELS} {_short(metrics[WITHOUT_LABELS])} (no labels, no {node.headline})"
    key = node.headline if node.headline in metrics else next(iter(numeric), None)
    return f"{key} {_short(metrics[key])}" if key is not None else ""


def _short(value: Any) -> str:
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
