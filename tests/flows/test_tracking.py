"""What several stages write into one store at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flows import entries
from flows.database import forget_remembered
from flows.dvc import LockEntry
from flows.environment import enter
from flows.tracking import Store
from stages.core.errors import ConfigError


def test_stages_that_read_the_same_new_data_at_once_all_record_it(bare_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bare_project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    enter(bare_project.root)
    store, width = Store.open(), 6
    for attempt in range(5):
        runs = [store.start(f"stage{number}", None, {}) for number in range(width)]
        together = threading.Barrier(width)

        def record(run: str, digest: str = f"{attempt:032}", together: threading.Barrier = together) -> None:
            entry = LockEntry("stage", "python x", {"data/pool": digest}, {}, {}, {}, run)
            together.wait()
            entries.record(store, run, entry, {"data/pool": "made"})

        with ThreadPoolExecutor(width) as pool:
            list(pool.map(record, runs))
        inputs = [store.client.get_run(run).inputs.dataset_inputs for run in runs]
        assert [len(found) for found in inputs] == [1] * width


def test_a_deleted_store_is_made_anew_and_a_damaged_one_is_called_so(bare_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bare_project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    database = Path("mlruns/mlflow.db")
    database.unlink()
    for left in ("-wal", "-shm"):
        database.with_name(f"mlflow.db{left}").write_bytes(b"of another database" * 4096)
    assert Store.open().client.search_experiments()
    forget_remembered()
    for file in Path("mlruns").glob("mlflow.db*"):
        file.unlink()
    database.write_bytes(b"no database at all " * 4096)
    with pytest.raises(ConfigError, match=r"mlflow\.db is damaged .* move mlflow\.db\* away"):
        Store.open()
