"""Runs whose process was killed do not stay RUNNING for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from flows.adapters.mlflow.recorder import RunRecorder
from flows.adapters.mlflow.store import Store
from flows.project.environment import enter

DIES = """
import os, signal
from pathlib import Path
from flows.project.environment import enter
from flows.adapters.mlflow.store import Store
enter(Path.cwd())
print(Store.open().start("pretrain", None, {}), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_run_closes_what_a_killed_one_left_open(
    bare_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = bare_project.environment()
    dead = subprocess.run(
        [sys.executable, "-c", DIES],
        cwd=bare_project.root,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    monkeypatch.chdir(bare_project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    enter(bare_project.root)
    store = Store.open()
    mine = store.start("distill", None, {})
    elsewhere = store.start("finetune", None, {"rootstock.process": "another-machine 1 1"})
    reused = store.start("evaluate", None, {})
    store.tag(
        reused, {"rootstock.process": f"{os.uname().nodename} {os.getpid()} 1"}
    )  # this process id, but an older process

    RunRecorder.begin(store, {})

    status = {
        run: store.client.get_run(run).info.status
        for run in (dead.stdout.strip(), mine, elsewhere, reused)
    }
    assert list(status.values()) == ["KILLED", "RUNNING", "RUNNING", "KILLED"]
    assert store.client.get_run(dead.stdout.strip()).info.end_time
