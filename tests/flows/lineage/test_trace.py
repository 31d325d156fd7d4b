"""The graph of runs has no hole, whatever happened to the store, the cache or the checkout."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from flows.adapters.dvc.hashes import hash_of
from flows.project.environment import enter

OPENERS = 3


def test_an_empty_store_gets_its_runs_back_marked_imported(ran: Any) -> None:
    shutil.rmtree(ran.root / "mlruns")  # nobody had this copy's database open
    again = ran.rootstock("run")
    assert again.code == 0 and again.out.count("(imported)") == 4, again
    tags, metrics = (
        tags_of(ran),
        rows(ran, "SELECT name, key, value FROM metrics JOIN runs USING (run_uuid)"),
    )
    assert all(tags[name]["rootstock.imported"] == "true" for name in "abcd")
    assert ("d", "letters", 5.0) in metrics
    parents = json.loads(tags["d"]["rootstock.parents"])
    assert parents == {"data/b.txt": tags["b"]["run"], "data/c.txt": tags["c"]["run"]}
    third = ran.rootstock("run")
    assert "(imported)" not in third.out, "what was imported once is known"


def test_a_lost_output_comes_back_from_the_cache_without_a_run(ran: Any) -> None:
    (ran.root / "data/b.txt").unlink()
    again = ran.rootstock("run")
    assert ran.states(again.out) == {
        "a": "cached",
        "b": "restored",
        "c": "cached",
        "d": "cached",
    }, again
    assert len(rows(ran, "SELECT 1 FROM runs WHERE name = 'b'")) == 1


def test_two_pipelines_at_once_complete_and_leave_one_chain(project: Any) -> None:
    both = [project.start("run"), project.start("run")]
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert project.text("data/d.txt") == "abacd"
    after = project.rootstock("run")
    assert project.states(after.out) == dict.fromkeys("abcd", "cached")
    identities = rows(project, "SELECT DISTINCT value FROM tags WHERE key = 'rootstock.identity'")
    assert len(identities) == 4


def test_a_moved_checkout_keeps_its_history(ran: Any) -> None:
    moved = ran.root.with_name("moved elsewhere")
    ran.root.rename(moved)
    ran.root = moved
    again = ran.rootstock("run")
    assert (
        ran.states(again.out) == dict.fromkeys("abcd", "cached") and "(imported)" not in again.out
    ), again
    addresses = [value for (value,) in rows(ran, "SELECT artifact_uri FROM runs")]
    assert addresses and all(value.startswith((moved / "mlruns").as_uri()) for value in addresses)
    artifacts = list((moved / "mlruns/artifacts").rglob("d.json"))
    assert artifacts


def test_first_openers_at_once_leave_a_sound_store(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from flows.project.environment import enter; from"
        " flows.adapters.mlflow.store import Store;enter(Path.cwd()); store = Store.open();"
        " store.end(store.start('hello', None, {}), 'FINISHED')"
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(enter.__code__.co_filename).parents[1]),
        "HOME": str(tmp_path),
    }
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(OPENERS)
    ]
    errors = [opener.communicate()[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * OPENERS, errors
    with sqlite3.connect(tmp_path / "mlruns/mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (OPENERS,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_another_store_is_respected(ran: Any, _blank: Path, tmp_path: Path) -> None:
    elsewhere = f"sqlite:///{tmp_path / 'other' / 'store.db'}"
    (tmp_path / "other").mkdir()
    shutil.copy(_blank / "mlruns/mlflow.db", tmp_path / "other/store.db")
    before = rows(ran, "SELECT count(*) FROM runs")
    assert ran.rootstock("run", environment={"MLFLOW_TRACKING_URI": elsewhere}).code == 0
    assert rows(ran, "SELECT count(*) FROM runs") == before
    with sqlite3.connect(tmp_path / "other/store.db") as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (5,), (
            "one of the pipeline, four rebuilt"
        )


def test_our_hash_is_dvcs_hash(project: Any) -> None:
    project.add(
        "a",
        [],
        "data/a.txt",
        "a",
        body='    write_text("data/folder/x.txt", "x"); write_text("data/folder/sub/y.txt", "y")',
    )
    project.stages["a"]["outs"].append("data/folder")
    project.write()
    project.rootstock("run", "--to", "a")
    import yaml

    outs = yaml.safe_load(project.text("dvc.lock"))["stages"]["a"]["outs"]
    assert {out["path"]: out["md5"] for out in outs} == {
        out["path"]: hash_of(project.root / out["path"]) for out in outs
    }


def rows(project: Any, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as database:
        return database.execute(query).fetchall()


def tags_of(project: Any) -> dict[str, dict[str, str]]:
    """Stage → tags of its newest run, with the run's id as ``run``."""
    found: dict[str, dict[str, str]] = {}
    for name, run, key, value in rows(
        project, "SELECT name, run_uuid, key, value FROM tags JOIN runs USING (run_uuid)"
    ):
        found.setdefault(name, {})["run"] = run
        found[name][key] = value
    return found
