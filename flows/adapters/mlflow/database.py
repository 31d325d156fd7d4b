"""Where the MLflow store lies: its address, whether it can be used, and the SQLite file of the
project itself.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from stages.core.errors import ConfigError

FOLDER = Path("mlruns")
EXPERIMENT = "rootstock"
DATABASES = frozenset({"postgresql", "postgres", "mysql", "mssql", "databricks"})
"""Kinds of stores that MLflow opens itself, besides files and servers."""
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow keeps absolute paths."""


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or the project's own SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(FOLDER / 'mlflow.db').resolve()}"


def exists() -> bool:
    """Whether there is a store to read: the project's own file, or whatever ``MLFLOW_TRACKING_URI``
    names.
    """
    return "MLFLOW_TRACKING_URI" in os.environ or (FOLDER / "mlflow.db").is_file()


def check_reachable(uri: str | None = None) -> None:
    """Refuse a store that cannot be used, before anything is changed.

    Raises:
        ConfigError: ``mlruns/`` cannot be written, no server answers at ``MLFLOW_TRACKING_URI``, or
            it is no address of a store.
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
                f"no MLflow server answers at MLFLOW_TRACKING_URI={uri} ({reason}): start it, or"
                " unset it"
            ) from None
    elif uri.partition(":")[0].partition("+")[0] not in DATABASES:
        raise ConfigError(
            f"MLFLOW_TRACKING_URI={uri} names no store: use http://HOST:PORT, sqlite:///FILE or"
            " postgresql://…, or unset it"
        )


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, also one marked read-only that root could write all
    the same.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(13, "Permission denied")
        with tempfile.TemporaryFile(dir=folder):
            pass
        for file in folder.glob("mlflow.db*"):
            if not os.access(file, os.W_OK) or not file.stat().st_mode & (
                stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
            ):
                raise PermissionError(13, f"Permission denied for {file.name}")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}): the MLflow store lives there; make it"
            " writable"
        ) from None


def create(database: Path, connect: Callable[[str, str | None], object]) -> None:
    """Build the tables beside the final name and rename: a killed first run leaves no half-built
    store.

    ``connect(uri, artifacts)`` builds them by opening the store.
    """
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        fresh = Path(folder) / database.name
        connect(f"sqlite:///{fresh}", (database.parent / "artifacts").resolve().as_uri())
        for left in (
            "-wal",
            "-shm",
        ):  # of a database somebody deleted; they would spoil its successor
            database.with_name(database.name + left).unlink(missing_ok=True)
        fresh.replace(database)


def rewrite_addresses(database: Path, artifacts: str) -> bool:
    """MLflow stores addresses as absolute paths; where the checkout was moved or copied, they are
    made to lie beside it again.

    Returns whether it had been.
    """
    import sqlite3

    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        row = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)
        ).fetchone()
        if row is None or row[0] == artifacts:
            return False
        old = row[0]
        for table, column in ADDRESSES:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1,"
                " ?) IN (?, ?)",
                (artifacts, len(old) + 1, len(old) + 1, old, f"{old}/"),
            )
        return True


def drop_caches() -> None:
    """MLflow remembers by run and by database where things lay, for as long as the process lives:
    forget it where they moved.

    An open connection to a deleted database would, when it is closed, take the write-ahead log of
    its successor with it.
    """
    if "mlflow" not in sys.modules:
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()
    for engine in SqlAlchemyStore._engine_map.values():
        engine.dispose()


def write_ahead(database: Path) -> None:
    """Readers no longer wait for the writer; the setting stays with the file.

    Raises:
        ConfigError: the file is damaged, or no database.
    """
    import sqlite3

    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("SELECT count(*) FROM experiments").fetchone()
    except (
        sqlite3.OperationalError
    ) as error:  # busy, which is an error of its own, or without tables yet, which is none
        if "no such table" not in str(error):
            raise
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"{database} is damaged ({error}): restore a copy, or move {database.name}* away and"
            " run again: no stage runs again, their MLflow runs are rebuilt and the model is"
            " registered again"
        ) from None
