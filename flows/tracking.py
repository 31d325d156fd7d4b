"""The MLflow store: opened once and safely, and what one pipeline run and one stage execution write into it."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.dvc import LockEntry
from stages.core.errors import ConfigError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModelInput, Run

EXPERIMENT = "rootstock"
FOLDER = Path("mlruns")
IDENTITY = "rootstock.identity"
STAGE = "rootstock.stage"
PARENTS = "rootstock.parents"
INPUTS = "rootstock.inputs"
OUTPUTS = "rootstock.outputs"
IMPORTED = "rootstock.imported"
DIGEST = "dvc.md5"
LONGEST_PARAM = 5000
LARGEST_ARTIFACT = 20 * 2**20
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow keeps absolute paths."""
PARENT_RUN = "mlflow.parentRunId"


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or the project's own SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(FOLDER / 'mlflow.db').resolve()}"


def exists() -> bool:
    """Whether there is a store to read: the project's own file, or whatever ``MLFLOW_TRACKING_URI`` names."""
    return "MLFLOW_TRACKING_URI" in os.environ or (FOLDER / "mlflow.db").is_file()


@dataclass(frozen=True)
class Store:
    """An open store: one client, one experiment."""

    client: MlflowClient
    experiment: str

    @classmethod
    def open(cls) -> Store:
        """Open the store, creating it under a lock where it is the project's own: first openers at once would corrupt it.

        Raises:
            ConfigError: ``mlruns/`` cannot be written, or no server answers at ``MLFLOW_TRACKING_URI``.
        """
        uri = tracking_uri()
        check_reachable(uri)
        os.environ["MLFLOW_TRACKING_URI"] = uri  # what mlflow opens on its own, such as models:/ addresses, is this store too
        if not uri.startswith("sqlite:///"):
            return cls._connect(uri, None)
        from filelock import FileLock

        database = Path(uri.removeprefix("sqlite:///"))
        with FileLock(f"{database}.lock"):
            if not database.exists():
                _create(database)
            _write_ahead(database)
            artifacts = (database.parent / "artifacts").resolve().as_uri()
            _settle(database, artifacts)
            return cls._connect(uri, artifacts)

    @classmethod
    def _connect(cls, uri: str, artifacts: str | None) -> Store:
        import logging

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            client = MlflowClient(uri, uri)
            known = client.get_experiment_by_name(EXPERIMENT)
            experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        except MlflowException as error:
            first = str(error).splitlines()[0]
            raise ConfigError(f"the MLflow store {uri} does not answer: {first}") from None
        return cls(client, experiment)

    def find(self, identity: str) -> Run | None:
        """The newest finished run of a stage with this ``dvc.lock`` entry."""
        found = self.client.search_runs(
            [self.experiment],
            f"tags.`{IDENTITY}` = '{identity}' and attributes.status = 'FINISHED'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        return found[0] if found else None

    def seconds(self, stage: str) -> float | None:
        """How long a stage took when it last ran here."""
        found = self.client.search_runs(
            [self.experiment],
            f"tags.`{STAGE}` = '{stage}' and attributes.status = 'FINISHED' and metrics.`system.seconds` > 0",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        return float(found[0].data.metrics["system.seconds"]) if found else None

    def start(self, name: str, parent: str | None, tags: Mapping[str, str]) -> str:
        """A new run; returns its id."""
        extra = {PARENT_RUN: parent} if parent else {}
        run = self.client.create_run(self.experiment, tags={**tags, **extra}, run_name=name)
        return str(run.info.run_id)

    def end(self, run: str, status: str) -> None:
        """Close a run: FINISHED, FAILED or KILLED."""
        self.client.set_terminated(run, status)

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        """Set several tags in one transaction."""
        self.batch(run, tags=tags)

    def batch(self, run: str, params: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None) -> None:
        """Log parameters and tags together; over-long values are cut where MLflow would refuse them."""
        from mlflow.entities import Param, RunTag

        pairs = [Param(key, str(value)[:LONGEST_PARAM]) for key, value in (params or {}).items()]
        marks = [RunTag(key, str(value)[:LONGEST_PARAM]) for key, value in (tags or {}).items()]
        for start in range(0, max(len(pairs), 1), 100):
            self.client.log_batch(run, params=pairs[start : start + 100], tags=marks if start == 0 else [])

    def metrics(self, run: str, values: Mapping[str, float]) -> None:
        """Final metrics at step 0."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in values.items()]
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(run, metrics=metrics[start : start + 1000])

    def artifacts(self, run: str, path: Path, under: str | None = None) -> None:
        """Copy a file or folder into the run; a file too large for a tracking store stays where DVC keeps it."""
        if path.is_file() and path.stat().st_size <= LARGEST_ARTIFACT:
            self.client.log_artifact(run, str(path), under)
        elif path.is_dir() and all(file.stat().st_size <= LARGEST_ARTIFACT for file in path.rglob("*") if file.is_file()):
            self.client.log_artifacts(run, str(path), f"{under}/{path.name}" if under else path.name)

    def record(self, run: str, entry: LockEntry, made_by: Mapping[str, str]) -> None:
        """Write a stage's ``dvc.lock`` entry into its run: parameters, identity, data and models in and out.

        Args:
            made_by: output path → id of the run that made it, for every input another stage made.
        """
        parents = {path: made for path in entry.dependencies if (made := maker(path, made_by))}
        tags = {
            STAGE: entry.stage,
            IDENTITY: entry.identity,
            INPUTS: json.dumps(entry.dependencies, sort_keys=True),
            OUTPUTS: json.dumps(entry.outputs, sort_keys=True),
            PARENTS: json.dumps(parents, sort_keys=True),
        }
        self.batch(run, params=flatten(entry.params), tags=tags)
        self._inputs(run, entry, parents)
        self._outputs(run, entry)

    def _inputs(self, run: str, entry: LockEntry, parents: Mapping[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput

        datasets, models = [], []
        for path, digest in entry.dependencies.items():
            if path in parents and is_model(path, digest):
                models += [LoggedModelInput(model) for model in [self.model_of(parents[path], path, digest)] if model]
            elif path in parents or path.endswith("fingerprint.json"):
                source = json.dumps({"uri": path})
                data = Dataset(name=path, digest=digest[:36], source_type="dvc", source=source)
                datasets.append(DatasetInput(data, [InputTag("mlflow.data.context", entry.stage)]))
        if datasets or models:
            self._log_inputs(run, datasets, models)

    def _log_inputs(self, run: str, datasets: list[DatasetInput], models: list[LoggedModelInput]) -> None:
        """MLflow looks a dataset up before it adds it, so of two that add one at once the second fails: it finds it next time."""
        from mlflow.exceptions import MlflowException

        for last in (False, False, False, True):
            try:
                self.client.log_inputs(run, datasets, models)
                return
            except MlflowException as error:
                if last or "unique" not in str(error).lower():
                    raise

    def _outputs(self, run: str, entry: LockEntry) -> None:
        from mlflow.entities import LoggedModelOutput

        made = [self._external_model(run, entry, path) for path, digest in entry.outputs.items() if is_model(path, digest)]
        if made:
            self.client.log_outputs(run, [LoggedModelOutput(model, 0) for model in made])

    def _external_model(self, run: str, entry: LockEntry, path: str) -> str:
        """A logged model whose bytes DVC keeps."""
        tags = {"mlflow.model.isExternal": "true", DIGEST: entry.outputs[path], "dvc.path": path, IDENTITY: entry.identity}
        model = self.client.create_logged_model(self.experiment, Path(path).name, run, tags, model_type=entry.stage)
        self.client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)

    def model_of(self, run: str, path: str, digest: str) -> str | None:
        """The id of the model a run put out at ``path``."""
        outputs = self.client.get_run(run).outputs
        for output in outputs.model_outputs if outputs else []:
            tags = self.client.get_logged_model(output.model_id).tags
            if tags.get("dvc.path") == path and tags.get(DIGEST) == digest:
                return str(output.model_id)
        return None


def maker(path: str, made_by: Mapping[str, str]) -> str | None:
    """The run that made a path, or the directory it lies in."""
    return next((made_by[str(place)] for place in (Path(path), *Path(path).parents) if str(place) in made_by), None)


def is_model(path: str, digest: str) -> bool:
    """Whether an artifact is a model directory."""
    return path.startswith("models/") and digest.endswith(".dir")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` → ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def numbers(values: Any, prefix: str = "") -> dict[str, float]:
    """The numbers of a metrics file by dotted key; lists and text are left to the file itself."""
    if isinstance(values, Mapping):
        return {name: number for key, value in values.items() for name, number in numbers(value, f"{prefix}{key}.").items()}
    if isinstance(values, int | float):
        return {metric_name(prefix.removesuffix(".")): float(values)}
    return {}


def metric_name(name: str) -> str:
    """The name as MLflow allows it."""
    return "".join(sign if sign.isalnum() or sign in "_-./ " else "_" for sign in name)


def check_reachable(uri: str | None = None) -> None:
    """Refuse a store that cannot be used, before anything is changed.

    Raises:
        ConfigError: ``mlruns/`` cannot be written, or no server answers at ``MLFLOW_TRACKING_URI``.
    """
    uri = uri or tracking_uri()
    if uri.startswith("sqlite:///"):
        check_writable(Path(uri.removeprefix("sqlite:///")).parent)
    elif uri.startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=10):
                pass
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise ConfigError(
                f"no MLflow server answers at MLFLOW_TRACKING_URI={uri} ({reason}): start it, or unset it"
            ) from None


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, also one marked read-only that root could write all the same."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(13, "Permission denied")
        with tempfile.TemporaryFile(dir=folder):
            pass
        for file in folder.glob("mlflow.db*"):
            if not os.access(file, os.W_OK) or not file.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
                raise PermissionError(13, f"Permission denied for {file.name}")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}): the MLflow store lives there; make it writable"
        ) from None


def _create(database: Path) -> None:
    """Build the tables beside the final name and rename: a killed first run leaves no half-built store."""
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        fresh = Path(folder) / database.name
        Store._connect(f"sqlite:///{fresh}", (database.parent / "artifacts").resolve().as_uri())
        fresh.replace(database)


def _settle(database: Path, artifacts: str) -> None:
    """MLflow stores addresses as absolute paths; where the checkout was moved or copied, they are made to lie beside it again."""
    import sqlite3

    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
        if row is None or row[0] == artifacts:
            return
        old = row[0]
        for table, column in ADDRESSES:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) IN (?, ?)",
                (artifacts, len(old) + 1, len(old) + 1, old, f"{old}/"),
            )


def _write_ahead(database: Path) -> None:
    """Readers no longer wait for the writer; the setting stays with the file."""
    import sqlite3

    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
