"""The processes beside a run: one that forks with DVC imported, one that writes to MLflow."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from flows.adapters.dvc import client, lockfile, plan
from flows.adapters.mlflow import recorder_client
from flows.adapters.mlflow.recorder_client import RecorderClient, RecorderProcess
from stages.core.errors import ConfigError, StageFailed


def test_a_call_answers_from_this_directory_and_raises_what_the_function_raised(
    project: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(project.root)
    assert client.call(plan.read_plan, (), None) == plan.read_plan()
    assert client.call(plan.read_reasons, "a") == ["never ran"]
    with pytest.raises(ConfigError, match="there is no stage"):
        client.call(plan.read_plan, (), "z")
    with pytest.raises(StageFailed, match="ValueError"):
        client.call(int, "no number")
    with pytest.raises(StageFailed, match="ended without a word"):
        client.call(os._exit, 3)


def test_an_entry_that_another_stages_dvc_is_writing_is_waited_for(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = "schema: '2.0'\nstages:\n  a:\n    cmd: 'true'\n"
    lock = Path("dvc.lock")
    lock.write_text(whole[:-2])
    threading.Timer(0.3, lock.write_text, [whole]).start()
    assert lockfile.read_entry("a").command == "true"


def test_a_killed_server_is_replaced(project: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(project.root)
    before = client.SERVER.running()
    before.process.send_signal(signal.SIGKILL)
    before.process.wait()
    assert client.call(plan.read_reasons, "a") == ["never ran"]
    assert client.SERVER.running() is not before


def test_books_that_cannot_be_kept_are_an_error_of_the_run(project: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    books = RecorderClient({})
    for _ in range(2):  # it stays true
        with pytest.raises(ConfigError, match="no MLflow server answers at MLFLOW_TRACKING_URI"):
            books.flush()


def test_a_run_that_begins_closes_one_that_was_left(project: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    left = RecorderClient({"who": "left"})
    left.open("a")
    mine = RecorderClient({"who": "mine"})
    assert mine.end({}, "FINISHED").stages == {}
    with sqlite3.connect("mlruns/mlflow.db") as store:
        found = store.execute("select name, status from runs order by start_time").fetchall()
    assert sorted(found) == [("a", "KILLED"), ("pipeline", "FINISHED"), ("pipeline", "KILLED")]


def test_when_who_keeps_the_books_dies_the_error_says_how_to_go_on() -> None:
    office = RecorderProcess()
    office.process.kill()
    with pytest.raises(StageFailed, match="rootstock run continues where"):
        office.ask("flush")


def test_an_answer_nobody_waited_for_is_not_taken_for_the_next(
    project: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recorder_client.PROCESS.forget()  # a new process imports for a second before it answers
    books = RecorderClient({})
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            books.flush()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert books.end({}, "KILLED").stages == {}
