"""Two runs in one folder: params.yaml changes only while no other run reads it."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.project.params_lock import LOCK, WAITING, turn
from stages.core.errors import ConfigError
from tests.flows.scenarios.test_kill import wait_for

WAITS = """
    began = Path(".rootstock/waiting")
    began.touch()
    while not Path(".rootstock/go").exists():
        time.sleep(0.1)
"""


@contextlib.contextmanager
def killed_in_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Whatever the test says, nothing waits for a word that will not come."""
    try:
        yield process
    finally:
        process.kill()


def test_a_second_run_with_other_parameters_waits_before_it_changes_them(project: Any) -> None:
    project.add("c", ["data/a.txt"], "data/c.txt", "c", body=WAITS, params=["seed", "pretrain"])
    with contextlib.ExitStack() as started:
        first = started.enter_context(
            killed_in_the_end(project.start("run", "--to", "c", "--set", "pretrain.epochs=7"))
        )
        wait_for(project.root / ".rootstock/waiting", first)
        second = started.enter_context(
            killed_in_the_end(project.start("run", "--to", "c", "--set", "pretrain.epochs=9"))
        )
        assert second.stdout and second.stdout.readline().strip() == WAITING
        assert "epochs: 7 " in project.text("params.yaml")
        assert (
            "pretrain.epoch " in project.rootstock("run", "--set", "pretrain.epoch=9").err
        )  # a slip need not wait
        (project.root / ".rootstock/go").touch()
        for run in (first, second):
            out, err = run.communicate(timeout=120)
            assert run.returncode == 0, (out, err)
    assert "epochs: 9 " in project.text("params.yaml")
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as store:
        query = (
            "SELECT value FROM params JOIN runs USING (run_uuid) WHERE name = 'c' AND key ="
            " 'pretrain.epochs' ORDER BY start_time"
        )
        assert store.execute(query).fetchall() == [("7",), ("9",)]


def test_runs_go_side_by_side_and_a_change_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        turn(change=False),
        turn(change=True),
        LOCK.open() as other,
    ):  # a turn within a turn is that one
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with turn(change=True), LOCK.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_folder_that_takes_no_lock_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    LOCK.parent.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"params\.lock cannot be written"), turn(change=False):
        pass
