"""A flow that is killed, by whatever signal, leaves no process behind, and the next run
completes.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.process.supervised import SupervisedProcess

WAITS = """
    mark = Path(".rootstock/waiting")
    if not mark.exists():
        mark.write_text("here")
        time.sleep(600)
"""
TIDY = """
    import signal, sys
    def tidy(number, frame):
        Path(".rootstock/checkpoint").write_text("kept")
        sys.exit(143)
    signal.signal(signal.SIGTERM, tidy)
    mark = Path(".rootstock/waiting")
    if not mark.exists():
        mark.write_text("here")
        time.sleep(600)
"""


def test_nothing_survives_a_sigkill_and_the_next_run_completes(project: Any, server: str) -> None:
    project.add("c", ["data/a.txt"], "data/c.txt", "c", body=WAITS)
    flow = project.start("run")
    wait_for(project.root / ".rootstock/waiting", flow)
    flow.kill()
    flow.wait()
    assert gone(project.root), processes(project.root)
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as store:
        until(
            lambda: (
                "RUNNING" not in {status for (status,) in store.execute("select status from runs")}
            ),
            30,
        )
        ((asked,),) = store.execute(
            "select distinct value from tags where key = 'prefect.flow_run_id'"
        ).fetchall()
    until(lambda: httpx.get(f"{server}/flow_runs/{asked}").json()["state_type"] == "CRASHED")
    after = project.rootstock("run")
    assert after.code == 0, after
    assert project.states(after.out)["c"] == "ran"
    assert project.text("data/d.txt") == "abacd"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_lets_its_stage_write_a_checkpoint(project: Any, number: int) -> None:
    project.add("b", ["data/a.txt"], "data/b.txt", "b", body=TIDY)
    flow = project.start("run", "--to", "b")
    wait_for(project.root / ".rootstock/waiting", flow)
    flow.send_signal(number)
    out, err = flow.communicate(timeout=60)
    assert flow.returncode == 3, (out, err)
    assert err.strip() == "rootstock: stopped; continue with: rootstock run --to b"
    assert (project.root / ".rootstock/checkpoint").read_text() == "kept"
    assert gone(project.root), processes(project.root)


@pytest.mark.slow
def test_the_temporary_server_dies_with_its_flow(
    bare_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    bare_project.add("a", [], "data/a.txt", "a", body=WAITS)
    flow = bare_project.start("run")
    wait_for(bare_project.root / ".rootstock/waiting", flow)
    assert any("uvicorn" in line for line in processes(bare_project.root))
    flow.kill()
    flow.wait()
    assert gone(bare_project.root), processes(bare_project.root)


def test_an_orphan_that_left_the_process_group_is_found(tmp_path: Path) -> None:
    mark = tmp_path / "orphan"
    script = f"(setsid sh -c 'echo $$ > {mark}; sleep 600' &) ; sleep 0.5; exit 7"
    with SupervisedProcess(["sh", "-c", script], {}) as process:
        assert [line for line in process.lines() if line] == []
    assert process.wait() == 7
    assert not Path("/proc", mark.read_text().strip()).exists()


def test_a_killed_supervisor_takes_its_command_along(tmp_path: Path) -> None:
    process = SupervisedProcess(["sh", "-c", f"echo $$ > {tmp_path / 'pid'}; sleep 600; true"], {})
    until((tmp_path / "pid").exists)
    os.kill(process._process.pid, signal.SIGKILL)
    assert process.wait() == 137
    until(lambda: not Path("/proc", (tmp_path / "pid").read_text().strip()).exists())


def test_a_signal_is_told_from_an_exit_code() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with SupervisedProcess([sys.executable, "-c", code], {}) as process:
        assert process.wait() == 128 + signal.SIGKILL


def test_lines_come_clean_and_cut() -> None:
    code = "print('a\\rb\\x1b[K'); print('x' * 5000)"
    with SupervisedProcess([sys.executable, "-c", code], {}) as process:
        lines = [line for line in process.lines() if line]
    assert lines[0] == "b[K"
    assert lines[1].startswith("x" * 2000 + " … (5,000")


def wait_for(path: Path, flow: subprocess.Popen[str]) -> None:
    """Until a stage says that it is there."""
    until(lambda: path.exists() or flow.poll() is not None, 120)
    assert path.exists(), flow.communicate()


def until(true: Any, seconds: float = 10) -> None:
    """Wait for something that will be."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert true()


def gone(root: Path, seconds: float = 20) -> bool:
    """Whether every process working in the project has ended, or does soon: who keeps the books has
    ten seconds to close them.
    """
    deadline = time.monotonic() + seconds
    while processes(root) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes(root)


def processes(root: Path) -> list[str]:
    """Command lines of the processes whose working directory is the project."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if (entry / "cwd").resolve(strict=True) == root:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found
