"""What several stages write into one store at the same moment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flows.adapters.dvc.hashes import hash_of
from flows.adapters.dvc.lockfile import LockEntry
from flows.adapters.mlflow import lineage_records
from flows.adapters.mlflow import store as tracking
from flows.adapters.mlflow.database import check_reachable, drop_caches
from flows.adapters.mlflow.store import Store
from flows.lineage import verification
from flows.project.environment import enter
from flows.registry.versions import CLASSIFIER, EVALUATION, ModelVersion
from stages.core.errors import ConfigError


def test_stages_that_read_the_same_new_data_at_once_all_record_it(
    bare_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bare_project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    enter(bare_project.root)
    store, width = Store.open(), 6
    for attempt in range(5):
        runs = [store.start(f"stage{number}", None, {}) for number in range(width)]
        together = threading.Barrier(width)

        def record(
            run: str, digest: str = f"{attempt:032}", together: threading.Barrier = together
        ) -> None:
            entry = LockEntry("stage", "python x", {"data/pool": digest}, {}, {}, {}, run)
            together.wait()
            lineage_records.record(store, run, entry, {"data/pool": "made"})

        with ThreadPoolExecutor(width) as pool:
            list(pool.map(record, runs))
        inputs = [store.client.get_run(run).inputs.dataset_inputs for run in runs]
        assert [len(found) for found in inputs] == [1] * width


def test_a_deleted_store_is_made_anew_and_a_damaged_one_is_called_so(
    bare_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bare_project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    database = Path("mlruns/mlflow.db")
    database.unlink()
    for left in ("-wal", "-shm"):
        database.with_name(f"mlflow.db{left}").write_bytes(b"of another database" * 4096)
    assert Store.open().client.search_experiments()
    drop_caches()
    for file in Path("mlruns").glob("mlflow.db*"):
        file.unlink()
    database.write_bytes(b"no database at all " * 4096)
    with pytest.raises(ConfigError, match=r"mlflow\.db is damaged .* move mlflow\.db\* away"):
        Store.open()


def test_what_is_too_large_for_the_store_is_found_where_dvc_keeps_it(
    bare_project: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One large file keeps nothing else out of the store; gates and ``--verify`` find it in the
    cache, also in a shared one.
    """
    monkeypatch.chdir(bare_project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "LARGEST_ARTIFACT", 100)
    Path(".dvc/config.local").write_text(f"[cache]\n    dir = {tmp_path / 'shared'}\n")
    folder = Path("reports/evaluate")
    (folder / "more").mkdir(parents=True)
    (folder / "index.html").write_text("page")
    (folder / "more/curve.csv").write_text("step")
    (folder / "predictions.parquet").write_bytes(b"p" * 101)
    Path("dvc.yaml").write_text("stages: {evaluate: {cmd: 'true', outs: [reports/evaluate]}}\n")
    subprocess.run([sys.executable, "-m", "dvc", "commit", "-q", "-f", "evaluate"], check=True)
    digest = hash_of(folder)
    store = Store.open()
    run = store.start("evaluate", None, {tracking.OUTPUTS: json.dumps({str(folder): digest})})
    store.artifacts(run, folder, "reports")
    shutil.rmtree(folder)
    assert {one.path for one in store.client.list_artifacts(run, str(folder))} == {
        f"{folder}/index.html",
        f"{folder}/more",
    }
    made = ModelVersion(store, CLASSIFIER, "1", {EVALUATION: run}, ())
    found = [
        made.evaluation_file(f"{folder}/{name}")
        for name in ("index.html", "more/curve.csv", "predictions.parquet")
    ]
    assert [file.read_bytes() for file in found if file] == [b"page", b"step", b"p" * 101]
    assert made.evaluation_file(f"{folder}/embeddings.parquet") is None
    assert [check.state for check in verification._artifact("evaluate", folder, digest, False)] == [
        "ok"
    ]


@pytest.mark.parametrize("uri", ["foo:bar", "./mlruns", "file:///tmp/mlruns", "http:/host"])
def test_an_address_that_names_no_store_is_one_line(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(
        ConfigError,
        match=rf"MLFLOW_TRACKING_URI={uri} names no store: use http://HOST:PORT, sqlite:///FILE or",
    ) as one:
        check_reachable()
    assert "\n" not in str(one.value)
