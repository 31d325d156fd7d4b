"""What a store says about runs and versions, for commands that only read.

Importing MLflow takes two seconds, so the project's own SQLite file is asked directly where its
tables are the known ones. Every other store (a server, PostgreSQL, the file of another MLflow) is
asked through MLflow's client.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flows.adapters.mlflow.database import EXPERIMENT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

REVISION = "dc11669786a5"
"""The state of MLflow's tables (its ``alembic_version``) that :class:`SqliteReader` knows: that of
MLflow 3.17.
"""
PATIENCE = 60.0
HERE = "workspace = 'default'"
NEWEST = ["attributes.start_time DESC"]
AT_ONCE = 500
Ask = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True)
class RunRecord:
    """One run: its id and name, parameters, tags, and the last value of every metric."""

    run: str
    name: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]

    @classmethod
    def of(cls, run: Run) -> RunRecord:
        """The same from MLflow's own object."""
        return cls(
            run.info.run_id,
            run.info.run_name,
            dict(run.data.params),
            dict(run.data.tags),
            dict(run.data.metrics),
        )


class Reader(Protocol):
    """What can be asked; None or nothing where there is no such run, version or model."""

    def run(self, run: str) -> RunRecord | None:
        """A run by its id."""

    def finished_runs(self) -> list[RunRecord]:
        """Every finished run of the project's experiment, the newest first."""

    def aliases(self, model: str) -> dict[str, str]:
        """Alias → version number."""

    def versions(self, model: str) -> dict[str, dict[str, str]]:
        """Version number → its tags."""

    def version_tags(self, model: str, number: str) -> dict[str, str] | None:
        """The tags of a version."""


class MlflowReader:
    """Asked of MLflow's client, whatever store stands behind it."""

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self._client, self._experiment = client, experiment

    def run(self, run: str) -> RunRecord | None:
        """A run by its id."""
        from mlflow.exceptions import MlflowException

        try:
            return RunRecord.of(self._client.get_run(run))
        except MlflowException:
            return None

    def finished_runs(self) -> list[RunRecord]:
        """Every finished run of the project's experiment, the newest first."""
        found, token = [], None
        while token != "":
            page = self._client.search_runs(
                [self._experiment],
                "attributes.status = 'FINISHED'",
                order_by=NEWEST,
                max_results=5000,
                page_token=token,
            )
            found += [RunRecord.of(run) for run in page]
            token = page.token or ""
        return found

    def aliases(self, model: str) -> dict[str, str]:
        """Alias → version number."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_registered_model(model)
        except MlflowException:
            return {}
        return {alias: str(number) for alias, number in found.aliases.items()}

    def versions(self, model: str) -> dict[str, dict[str, str]]:
        """Version number → its tags."""
        found = self._client.search_model_versions(f"name = '{model}'", max_results=10_000)
        return {str(version.version): dict(version.tags) for version in found}

    def version_tags(self, model: str, number: str) -> dict[str, str] | None:
        """The tags of a version."""
        from mlflow.exceptions import MlflowException

        try:
            return dict(self._client.get_model_version(model, number).tags)
        except MlflowException:
            return None


class SqliteReader:
    """Read from MLflow's SQLite file."""

    def __init__(self, database: Path) -> None:
        self._database = database

    @classmethod
    def readable(cls, database: Path) -> SqliteReader | None:
        """Where the file has the known tables."""
        found = cls(database)
        try:
            with found._ask() as ask:
                known = ask("SELECT version_num FROM alembic_version") == [(REVISION,)]
        except sqlite3.Error:
            return None
        return found if known else None

    def run(self, run: str) -> RunRecord | None:
        """A run by its id."""
        with self._ask() as ask:
            return next(
                iter(_runs(ask, "SELECT run_uuid, name FROM runs WHERE run_uuid = ?", run)), None
            )

    def finished_runs(self) -> list[RunRecord]:
        """Every finished run of the project's experiment, the newest first."""
        ours = f"(SELECT experiment_id FROM experiments WHERE name = ? AND {HERE})"
        ended = f"experiment_id = {ours} AND status = 'FINISHED' AND lifecycle_stage = 'active'"
        with self._ask() as ask:
            return _runs(
                ask,
                f"SELECT run_uuid, name FROM runs WHERE {ended} ORDER BY start_time DESC, run_uuid",
                EXPERIMENT,
            )

    def aliases(self, model: str) -> dict[str, str]:
        """Alias → version number."""
        with self._ask() as ask:
            found = ask(
                f"SELECT alias, version FROM registered_model_aliases WHERE name = ? AND {HERE}",
                model,
            )
        return {alias: str(number) for alias, number in found}

    def versions(self, model: str) -> dict[str, dict[str, str]]:
        """Version number → its tags."""
        alive = (
            f"SELECT version FROM model_versions WHERE name = ? AND {HERE} AND current_stage <>"
            " 'Deleted_Internal'"
        )
        with self._ask() as ask:
            found: dict[str, dict[str, str]] = {str(number): {} for (number,) in ask(alive, model)}
            tags = ask(
                f"SELECT version, key, value FROM model_version_tags WHERE name = ? AND {HERE}",
                model,
            )
        for number, key, value in tags:
            if str(number) in found:
                found[str(number)][key] = value
        return found

    def version_tags(self, model: str, number: str) -> dict[str, str] | None:
        """The tags of a version."""
        return self.versions(model).get(number)

    @contextmanager
    def _ask(self) -> Iterator[Ask]:
        """``ask(query, *values)`` on one connection; everything asked sees one moment."""
        with closing(sqlite3.connect(self._database, timeout=PATIENCE)) as connection, connection:
            connection.execute("BEGIN")
            yield lambda query, *values: connection.execute(query, values).fetchall()


def _runs(ask: Ask, which: str, value: str) -> list[RunRecord]:
    """What the tables say about the runs (id, name) that ``which`` selects."""
    found = {run: RunRecord(run, name, {}, {}, {}) for run, name in ask(which, value)}
    for table, facts in (("params", "params"), ("tags", "tags"), ("latest_metrics", "metrics")):
        undefined = "is_nan" if table == "latest_metrics" else "0"
        for start in range(0, len(found), AT_ONCE):
            ids = list(found)[start : start + AT_ONCE]
            marks = ", ".join("?" * len(ids))
            for run, key, text, no_number in ask(
                f"SELECT run_uuid, key, value, {undefined} FROM {table} WHERE run_uuid IN"
                f" ({marks})",
                *ids,
            ):
                getattr(found[run], facts)[key] = float("nan") if no_number else text
    return list(found.values())
