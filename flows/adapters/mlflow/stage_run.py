"""What one execution of a stage leaves in MLflow, live while it runs and whole when it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.adapters.dvc.lockfile import LockEntry
from flows.adapters.mlflow.lineage_records import record
from flows.adapters.mlflow.store import IMPORTED, STAGE, Store, flatten, numbers
from flows.process.stage_events import Event


class StageRun:
    """One execution of one stage: its events forwarded to MLflow, metrics in batches."""

    def __init__(self, store: Store, stage: str, parent: str, tags: Mapping[str, str]) -> None:
        self.store, self.stage = store, stage
        self.id = store.start(stage, parent, {STAGE: stage, **tags})
        self._metrics: list[Any] = []
        self._flushed = time.monotonic()

    def forward(self, event: Event) -> None:
        """Take one event in; metrics wait for company."""
        from mlflow.entities import Metric

        if event.kind == "start":
            self.store.tag(
                self.id, {f"machine.{key}": value for key, value in event.fields["machine"].items()}
            )
        elif event.kind == "params":
            self.store.batch(
                self.id,
                params={
                    f"resolved.{key}": value
                    for key, value in flatten(event.fields["values"]).items()
                },
            )
        elif event.kind == "tags":
            self.store.tag(self.id, event.fields["values"])
        elif event.kind == "metrics":
            moment = int(event.time * 1000)
            values = event.fields["values"].items()
            self._metrics += [
                Metric(name, float(value), moment, event.fields["step"]) for name, value in values
            ]
        elif event.kind == "artifact":
            self.store.artifacts(self.id, Path(event.fields["path"]))

    def flush(self, every: float = 0.0) -> None:
        """Send what waits, at most once in ``every`` seconds."""
        if self._metrics and time.monotonic() - self._flushed >= every:
            for start in range(0, len(self._metrics), 1000):
                self.store.client.log_batch(self.id, metrics=self._metrics[start : start + 1000])
            self._metrics, self._flushed = [], time.monotonic()

    def fail(self, status: str, message: str) -> None:
        """Close the run of a stage that did not end well."""
        self.flush()
        self.store.tag(self.id, {"rootstock.error": message})
        self.store.end(self.id, status)

    def finish(self, entry: LockEntry, made_by: Mapping[str, str]) -> None:
        """Close the run of a stage that did."""
        self.flush()
        publish(self.store, self.id, entry, made_by)
        self.store.end(self.id, "FINISHED")


def publish(store: Store, run: str, entry: LockEntry, made_by: Mapping[str, str]) -> None:
    """What every finished run of a stage shows, executed or imported: lock entry, metrics,
    reports.
    """
    record(store, run, entry, made_by)
    for path in map(Path, entry.outputs):
        if path.parts[0] == "metrics" and path.suffix == ".json" and path.is_file():
            store.metrics(run, numbers(json.loads(path.read_text())))
        if path.parts[0] in {"metrics", "reports"}:
            store.artifacts(
                run,
                path,
                "reports" if path.parts[0] == "reports" and path.is_dir() else path.parts[0],
            )


def import_run(
    store: Store,
    entry: LockEntry,
    parent: str | None,
    made_by: Mapping[str, str],
    tags: Mapping[str, str],
) -> str:
    """Rebuild the run of a stage whose output came from elsewhere (a colleague's remote, an older
    store).
    """
    run = store.start(entry.stage, parent, {**tags, IMPORTED: "true"})
    publish(store, run, entry, made_by)
    store.end(run, "FINISHED")
    return run
