"""Reading the registry: what a version was made from, and that it is the same with and without
MLflow.
"""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.registry import crown, get
from flows.adapters.mlflow.reader import MlflowReader, SqliteReader
from flows.adapters.mlflow.store import Store
from flows.lineage import trace as lineage
from flows.registry import versions
from flows.registry.versions import CHAMPION, CLASSIFIER
from stages.core.errors import ConfigError


def test_lineage_reaches_the_sources_and_prints_what_made_it(store: Store) -> None:
    crown(store, 1)
    found = lineage.trace(versions.resolve(store, f"{CLASSIFIER}@champion"))
    assert found.complete and found.source
    text = lineage.tree(found)
    for stage in (
        "finetune",
        "distill",
        "pretrain",
        "augment",
        "curate",
        "validate",
        "ingest",
        "evaluated by",
    ):
        assert stage in text
    for step in found.steps.values():
        assert step.run in text and all(hashed in text for hashed in step.outputs.values())
    assert "c" * 10 in text and "finetune.steps=3" in text and "source images" in text
    assert text.count("(champion)") == 1


def test_lineage_of_what_does_not_exist_names_what_does(store: Store) -> None:
    for reference, line in {
        f"{CLASSIFIER}@nobody": (
            "has no version or alias 'nobody'; versions: 1, 2, 3; aliases: none"
        ),
        "classifier@champion": f"there is {CLASSIFIER}",
        "@": "names no model",
    }.items():
        with pytest.raises(ConfigError, match=line):
            versions.resolve(store, reference)


def test_the_file_says_what_mlflow_says(store: Store) -> None:
    crown(store, 2)
    kept, gone = store.start("odd", None, {"note": "line\nbreak"}), store.start("gone", None, {})
    store.metrics(kept, {"big": float("inf"), "small": -1e-30, "none": float("nan")})
    store.metrics(kept, {"small": 2.0})
    for run in (kept, gone):
        store.end(run, "FINISHED")
    store.client.delete_run(gone)
    store.end(store.start("failed", None, {}), "FAILED")
    store.client.delete_model_version(CLASSIFIER, "1")
    file, client = store.facts, MlflowReader(store.client, store.experiment)
    assert isinstance(file, SqliteReader)
    found, expected = ({run.run: run for run in side.finished_runs()} for side in (file, client))
    assert list(found) == list(expected) and len(found) == 25 and gone not in found
    assert math.isnan(found[kept].metrics.pop("none")) and math.isnan(
        expected[kept].metrics.pop("none")
    )
    assert found == expected and found[kept].metrics["small"] == 2.0
    run = get(store, 2).stage_run
    assert file.run(run) == client.run(run) and file.run(gone) == client.run(gone)
    assert file.aliases(CLASSIFIER) == client.aliases(CLASSIFIER) == {CHAMPION: "2"}
    assert file.versions(CLASSIFIER) == client.versions(CLASSIFIER) and set(
        file.versions(CLASSIFIER)
    ) == {"2", "3"}
    for model, number in {CLASSIFIER: "3", "nobody": "1"}.items():
        assert file.version_tags(model, number) == client.version_tags(model, number)
    for number in ("1", "99", "champion"):
        assert (
            file.version_tags(CLASSIFIER, number) is client.version_tags(CLASSIFIER, number) is None
        )
    assert file.run("0" * 32) is client.run("0" * 32) is None
    assert (
        file.aliases("nobody")
        == client.aliases("nobody")
        == file.versions("nobody")
        == client.versions("nobody")
        == {}
    )


def test_tables_of_another_mlflow_are_left_to_mlflow(store: Store) -> None:
    with sqlite3.connect("mlruns/mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'another'")
    assert SqliteReader.readable(Path("mlruns/mlflow.db")) is None


ONLY_READS = """
import sys
from flows.lineage import trace
from flows.registry import versions
from flows.adapters.mlflow.store import Store
print(trace.tree(trace.trace(versions.resolve(Store.open(), "rootstock-classifier@1"))))
assert not [name for name in ("mlflow", "pandas", "torch") if name in sys.modules], "seconds of imports"
"""  # noqa: E501


def test_lineage_of_the_projects_own_store_does_without_mlflow(looked_at: Store) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONLY_READS],
        env={"PYTHONPATH": str(Path(versions.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "source images" in done.stdout
