"""The MLflow store: opened once and safely, and what one pipeline run and one stage execution write
into it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from flows.adapters.mlflow.database import (
    EXPERIMENT,
    check_reachable,
    create,
    drop_caches,
    rewrite_addresses,
    tracking_uri,
    write_ahead,
)
from flows.adapters.mlflow.reader import MlflowReader, Reader, SqliteReader
from flows.process.identity import PROCESS, this_process
from flows.process.locks import lock
from stages.core.errors import ConfigError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

IDENTITY = "rootstock.identity"
STAGE = "rootstock.stage"
PARENTS = "rootstock.parents"
INPUTS = "rootstock.inputs"
OUTPUTS = "rootstock.outputs"
IMPORTED = "rootstock.imported"
DIGEST = "dvc.md5"
LONGEST_PARAM = 5000
LARGEST_ARTIFACT = 20 * 2**20
DELETED = "deleted"
PARENT_RUN = "mlflow.parentRunId"


@dataclass(frozen=True)
class Store:
    """A store, opened safely. MLflow itself is imported when it is first needed: what only reads
    does without.
    """

    uri: str
    home: str | None = None
    """Where artifacts go, for the project's own file."""

    @classmethod
    def open(cls) -> Store:
        """Open the store, creating it under a lock where it is the project's own: first openers at
        once would corrupt it.

        Raises:
            ConfigError: ``mlruns/`` cannot be written, or no server answers at
                ``MLFLOW_TRACKING_URI``.
        """
        uri = tracking_uri()
        check_reachable(uri)
        os.environ["MLFLOW_TRACKING_URI"] = (
            uri  # what mlflow opens on its own, such as models:/ addresses, is this store too
        )
        database = database_of(uri)
        if database is None:
            store = cls(uri)
            store.client  # noqa: B018 - one that does not answer is told now
            return store
        with _alone(database):
            artifacts = (database.parent / "artifacts").resolve().as_uri()
            if new := not database.exists():
                drop_caches()
                create(database, _connect)
            write_ahead(database)
            if rewrite_addresses(database, artifacts) and not new:
                drop_caches()
        return cls(uri, artifacts)

    @property
    def client(self) -> MlflowClient:
        """MLflow's own client."""
        return self._connection[0]

    @property
    def experiment(self) -> str:
        """The id of the experiment all runs of the project belong to."""
        return self._connection[1]

    @cached_property
    def _connection(self) -> tuple[MlflowClient, str]:
        database = database_of(self.uri)
        with _alone(database) if database else nullcontext():
            return _connect(self.uri, self.home)

    @cached_property
    def facts(self) -> Reader:
        """What can be read without MLflow where the store allows it."""
        database = database_of(self.uri)
        return (database and SqliteReader.readable(database)) or MlflowReader(
            self.client, self.experiment
        )

    def find(self, identity: str) -> Run | None:
        """The newest finished run of a stage with this ``dvc.lock`` entry."""
        found = self.client.search_runs(
            [self.experiment],
            f"tags.`{IDENTITY}` = '{identity}' and attributes.status = 'FINISHED'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        return found[0] if found else None

    def start(self, name: str, parent: str | None, tags: Mapping[str, str]) -> str:
        """A new run; returns its id."""
        extra = {PROCESS: this_process(), **({PARENT_RUN: parent} if parent else {})}
        run = self.client.create_run(self.experiment, tags={**tags, **extra}, run_name=name)
        return str(run.info.run_id)

    def end(self, run: str, status: str) -> None:
        """Close a run: FINISHED, FAILED or KILLED."""
        self.client.set_terminated(run, status)

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        """Set several tags in one transaction."""
        self.batch(run, tags=tags)

    def batch(
        self,
        run: str,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log parameters and tags together; over-long values are cut where MLflow would refuse
        them.
        """
        from mlflow.entities import Param, RunTag

        pairs = [Param(key, str(value)[:LONGEST_PARAM]) for key, value in (params or {}).items()]
        marks = [RunTag(key, str(value)[:LONGEST_PARAM]) for key, value in (tags or {}).items()]
        for start in range(0, max(len(pairs), 1), 100):
            self.client.log_batch(
                run, params=pairs[start : start + 100], tags=marks if start == 0 else []
            )

    def metrics(self, run: str, values: Mapping[str, float]) -> None:
        """Final metrics at step 0."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in values.items()]
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(run, metrics=metrics[start : start + 1000])

    def artifacts(self, run: str, path: Path, under: str | None = None) -> None:
        """Copy a file or folder into the run; a file too large for a tracking store stays where DVC
        keeps it.
        """
        within = PurePosixPath(under or "") / path.name
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        small = [
            file for file in files if file.is_file() and file.stat().st_size <= LARGEST_ARTIFACT
        ]
        if path.is_dir() and small == files:
            self.client.log_artifacts(run, str(path), str(within))
            return
        for file in small:
            folder = under if file == path else (within / file.relative_to(path).parent).as_posix()
            self.client.log_artifact(run, str(file), folder)


def database_of(uri: str) -> Path | None:
    """The SQLite file an address names, if it names one."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _alone(database: Path) -> AbstractContextManager[object]:
    return lock(Path(f"{database}.lock"))


def _connect(uri: str, artifacts: str | None) -> tuple[MlflowClient, str]:
    """A client, and the id of the project's experiment, made where there is none."""
    import logging

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(uri, uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        if known and known.lifecycle_stage == DELETED:
            client.restore_experiment(known.experiment_id)
            print(
                f"the MLflow experiment {EXPERIMENT!r} was deleted: restored, with its runs",
                file=sys.stderr,
                flush=True,
            )
        experiment = (
            known.experiment_id
            if known
            else client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        )
    except MlflowException as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"the MLflow store {uri} does not answer: {first}") from None
    return client, experiment


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` → ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            flatten(value, f"{prefix}{key}.")
            if isinstance(value, Mapping) and value
            else {f"{prefix}{key}": value}
        )
    return flat


def numbers(values: Any, prefix: str = "") -> dict[str, float]:
    """The numbers of a metrics file by dotted key; lists and text are left to the file itself."""
    if isinstance(values, Mapping):
        return {
            name: number
            for key, value in values.items()
            for name, number in numbers(value, f"{prefix}{key}.").items()
        }
    if isinstance(values, int | float):
        return {metric_name(prefix.removesuffix(".")): float(values)}
    return {}


def metric_name(name: str) -> str:
    """The name as MLflow allows it."""
    return "".join(sign if sign.isalnum() or sign in "_-./ " else "_" for sign in name)
