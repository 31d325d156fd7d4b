"""The books of one pipeline run: what its stages tell, what they made from what, written to MLflow
in the order it happens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from flows.adapters.dvc.lockfile import LockEntry
from flows.adapters.mlflow import orphans
from flows.adapters.mlflow.stage_run import StageRun, import_run
from flows.adapters.mlflow.store import Store
from flows.process.stage_events import Event

T = TypeVar("T")
Say = Callable[[str], None]
EVERY = 2.0
"""Seconds between two batches of metrics of a stage."""


@dataclass(frozen=True)
class Closed:
    """Where the books of a finished run lie: MLflow's ids of the experiment, of the run, and of
    every stage's run.
    """

    experiment: str
    run: str
    stages: dict[str, str]


class Recorder(Protocol):
    """Anything that records one pipeline run: in this process, or through a sidecar."""

    def open(self, stage: str) -> None:
        """Note that a stage began."""

    def forward(self, stage: str, events: Sequence[Event]) -> None:
        """Write what a stage reported."""

    def flush(self) -> None:
        """Write what has waited; raises what could not be written."""

    def finish(self, stage: str, entry: LockEntry) -> None:
        """Close the run of a stage that ended well; this is its entry in ``dvc.lock``."""

    def fail(self, stage: str, status: str, message: str) -> None:
        """Close the run of a stage that did not: FAILED or KILLED."""

    def link(self, entry: LockEntry) -> tuple[str, bool]:
        """Return the run that made a fresh stage's output, and whether it had to be rebuilt."""

    def call(self, function: Callable[..., T], *arguments: Any, say: Say) -> T:
        """Return what a function returns that is given the store and output path → run first."""

    def end(self, states: Mapping[str, str], status: str) -> Closed:
        """Close the parent run with the state of every stage."""


class RunRecorder:
    """Writes into a store; one thread at a time. A stage's run is opened when there is something to
    tell.
    """

    def __init__(self, store: Store, tags: Mapping[str, str], run: str) -> None:
        self.store, self.tags, self.run = store, tags, run
        self.made_by: dict[str, str] = {}
        self._open: dict[str, StageRun] = {}
        self._done: dict[str, str] = {}

    @classmethod
    def begin(cls, store: Store, tags: Mapping[str, str]) -> RunRecorder:
        """Open the parent run of a pipeline, after closing what killed ones left open."""
        orphans.close(store)
        return cls(
            store, tags, store.start("pipeline", None, {"rootstock.kind": "pipeline", **tags})
        )

    def open(self, stage: str) -> None:
        """A stage began."""
        if stage not in self._open:
            self._open[stage] = StageRun(self.store, stage, self.run, self.tags)

    def forward(self, stage: str, events: Sequence[Event]) -> None:
        """What a stage told."""
        self.open(stage)
        for event in events:
            self._open[stage].forward(event)
        self._open[stage].flush(EVERY)

    def flush(self) -> None:
        """Send metrics that have waited long enough."""
        for run in self._open.values():
            run.flush(EVERY)

    def finish(self, stage: str, entry: LockEntry) -> None:
        """A stage ended well; this is its entry in ``dvc.lock``."""
        self.open(stage)
        run = self._open.pop(stage)
        run.finish(entry, self.made_by)
        self._took(entry, run.id)

    def fail(self, stage: str, status: str, message: str) -> None:
        """A stage ended otherwise: FAILED or KILLED."""
        self.open(stage)
        run = self._open.pop(stage)
        run.fail(status, message)
        self._done[stage] = run.id

    def link(self, entry: LockEntry) -> tuple[str, bool]:
        """The run that made a fresh stage's output; rebuilt (and True) where this store has never
        seen it.
        """
        known = self.store.find(entry.identity)
        run = (
            str(known.info.run_id)
            if known
            else import_run(self.store, entry, self.run, self.made_by, self.tags)
        )
        self._took(entry, run)
        return run, known is None

    def call(self, function: Callable[..., T], *arguments: Any, say: Say) -> T:
        """Return what ``function(store, made_by, *arguments, say)`` returns; ``made_by`` is output
        path → run.
        """
        return function(self.store, self.made_by, *arguments, say)

    def end(self, states: Mapping[str, str], status: str) -> Closed:
        """Close the parent run with what became of every stage."""
        links = {f"rootstock.stage.{stage}": run for stage, run in self._done.items()}
        self.store.tag(self.run, {**links, "rootstock.states": json.dumps(dict(states))})
        self.store.end(self.run, status)
        return Closed(self.store.experiment, self.run, dict(self._done))

    def abandon(self) -> None:
        """The process that ran the pipeline is gone: close what is open."""
        for stage in list(self._open):
            self.fail(stage, "KILLED", "the process that ran the pipeline ended without a word")
        self.store.end(self.run, "KILLED")
        orphans.mark_crashed(self.tags)

    def _took(self, entry: LockEntry, run: str) -> None:
        self.made_by.update(dict.fromkeys(entry.outputs, run))
        self._done[entry.stage] = run
