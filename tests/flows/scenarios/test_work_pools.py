"""Stages and cells spread over the workers of a pool; what becomes of them when a run or a worker
is killed in the midst.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from flows.adapters.prefect.gpu_limit import LIMIT
from flows.process.supervisor import descendants
from tests.support.services import api, runs, state, until
from tests.support.toy_stages import Tiny

SRUN = """#!/bin/sh
# What srun is for a pool of the kind slurm: takes its options, then runs the command, here on this machine.
echo "$*" >> "$0.log"
while case "$1" in --*) ;; *) false ;; esac; do shift; done
exec "$@"
"""  # noqa: E501
MEETING = """
import os, sys, time
from pathlib import Path
mine, other = (Path(f"{os.environ['TINY_LOG']}.{name}") for name in sys.argv[1:])
mine.touch()
deadline = time.monotonic() + 120
while not other.exists():
    assert time.monotonic() < deadline, "the other stage did not come"
    time.sleep(0.1)
Path("data").mkdir(exist_ok=True)
Path(f"data/{sys.argv[1]}.txt").write_text("met")
"""
WAITS = """
    began = Path(".rootstock/began")
    if not began.exists():
        began.touch()
        while not began.with_suffix(".go").exists():
            time.sleep(0.1)
"""


@dataclass(frozen=True)
class Cluster:
    """The pool ``cluster`` with its workers by name, and what its ``srun`` was called with."""

    workers: dict[str, subprocess.Popen[bytes]]
    srun: Path

    def kill(self, worker: str, all_below: bool) -> None:
        """As when somebody kills it, or its whole machine goes down."""
        pid = self.workers[worker].pid
        for process in [pid, *(descendants(pid) if all_below else [])]:
            os.kill(process, signal.SIGKILL)
        self.workers[worker].wait()


@pytest.fixture
def cluster(up: Tiny, tmp_path: Path) -> Iterator[Cluster]:
    """A pool with two workers that take one run each; ``srun`` is a script."""
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    address = f"{state(up, 'prefect')['address']}/api"
    environment = up.environment(PREFECT_API_URL=address)
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    up.rootstock("deploy", "stage-worker", "--pool", "cluster", "--kind", "slurm")
    up.rootstock("deploy", "experiment-worker", "--pool", "cluster")
    command = [
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        "cluster",
        "--limit",
        "1",
        "--name",
    ]
    workers = {
        name: subprocess.Popen(
            [*command, name], cwd=up.root, env=environment, stdout=subprocess.DEVNULL
        )
        for name in ("one", "two")
    }
    try:
        yield Cluster(workers, tmp_path / "srun.log")
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.wait()


@pytest.mark.slow
def test_stages_and_cells_spread_over_two_workers_of_a_pool(up: Tiny, cluster: Cluster) -> None:
    (up.root / "meeting.py").write_text(MEETING)
    graph = yaml.safe_load((up.root / "dvc.yaml").read_text())
    for mine, other in (("left", "right"), ("right", "left")):
        graph["stages"][mine] = {
            "cmd": f"python meeting.py {mine} {other}",
            "deps": ["meeting.py"],
            "outs": [f"data/{mine}.txt"],
        }
    (up.root / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    up.commit("Two stages that wait for each other: one worker alone could not run them")
    printed = up.rootstock("run", "--pool", "cluster")
    assert [(up.root / f"data/{name}.txt").read_text() for name in ("left", "right")] == [
        "met",
        "met",
    ]
    assert "ran" in printed
    assert [kind for kind, _ in runs(up, "rootstock-stage-worker")] == ["COMPLETED"] * 2
    assert not list((up.root / ".rootstock/elsewhere").iterdir())
    up.version("v1", "0.5 0.5")
    up.version("v2", "0.6 0.6")
    printed = up.rootstock(
        "experiment",
        "--data",
        "v1,v2",
        "--seeds",
        "2",
        "--to",
        "evaluate",
        "--pool",
        "cluster",
        "--jobs",
        "2",
    )
    assert "Dataset version v2 is better" in printed
    until(
        lambda: [kind for kind, _ in runs(up, "rootstock-experiment-worker")] == ["COMPLETED"] * 2
    )
    assert cluster.srun.read_text().count("--ntasks=1 --gpus=0 ") == 4
    assert "no worker of the pool 'nowhere'" in up.rootstock("run", "--pool", "nowhere", code=2)


@pytest.mark.slow
def test_a_killed_run_takes_its_stage_along_and_the_next_one_ends_with_the_same_outputs(
    up: Tiny, cluster: Cluster
) -> None:
    before, began, others = undisturbed(up), stage_waits(up), set(up.processes())
    run = up.start("run", "--pool", "cluster")
    until(began.exists)
    run.kill()
    run.wait()
    until(lambda: set(up.processes()) <= others)
    until(lambda: runs(up, "rootstock-stage-worker")[-1] == ("CANCELLED", "Cancelled"))
    assert not list((up.root / ".rootstock/elsewhere").iterdir())
    assert locked(up.root) == set()
    assert "ran" in up.rootstock("run", "--pool", "cluster")
    assert up.outputs() == before
    until(lambda: set(up.processes()) <= others)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [True, False], ids=["with its machine", "alone"])
def test_a_worker_that_is_killed_is_missed_and_the_stage_ends_all_the_same(
    up: Tiny, cluster: Cluster, machine: bool
) -> None:
    before, began = undisturbed(up), stage_waits(up)
    run = up.start("run", "--pool", "cluster")
    until(began.exists)
    found = api(up, "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}})
    (worker,) = {
        asked["labels"]["prefect.worker.name"] for asked in found if asked["deployment_id"]
    }
    cluster.kill(worker, all_below=machine)
    began.with_suffix(".go").touch()
    printed, _ = run.communicate(timeout=120)
    assert run.returncode == 0, printed
    assert ("the worker that ran it is gone" in printed) == machine
    assert up.outputs() == before
    assert locked(up.root) == set()


@pytest.mark.slow
def test_a_gpu_that_a_killed_run_held_is_free_again(up: Tiny) -> None:
    before, began = undisturbed(up), stage_waits(up)
    graph = yaml.safe_load((up.root / "dvc.yaml").read_text())
    graph["stages"]["pretrain"]["meta"] = {"resources": {"gpu": 1}}
    (up.root / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    run = up.start("run", CUDA_VISIBLE_DEVICES="0")
    until(began.exists)
    run.kill()
    run.wait()
    limit = f"{state(up, 'prefect')['address']}/api/v2/concurrency_limits/{LIMIT}"
    assert httpx.get(limit, timeout=30).json()["active_slots"] == 1
    up.rootstock("run", CUDA_VISIBLE_DEVICES="0")  # waits for it
    assert up.outputs() == before
    assert httpx.get(limit, timeout=30).json()["active_slots"] == 0


def undisturbed(project: Tiny) -> dict[str, str]:
    """What a run that nobody kills makes."""
    project.dvc("repro", "-q")
    return project.outputs()


def stage_waits(project: Tiny) -> Path:
    """Let pretrain wait, once and for as long as nobody says go; returns the file that appears when
    it begins to.
    """
    script, began = project.root / "pretrain.py", project.root / ".rootstock/began"
    for old in (began, began.with_suffix(".go")):
        old.unlink(missing_ok=True)
    if WAITS not in script.read_text():
        script.write_text(
            script.read_text().replace('count("pretrain")', f'count("pretrain"){WAITS}')
        )
    else:
        script.write_text(script.read_text() + "# changed\n")
    return began


def locked(root: Path) -> set[str]:
    """Lock files of the project that a process holds."""
    held = {
        int(line.split()[-3].rsplit(":", 1)[1])
        for line in Path("/proc/locks").read_text().splitlines()
        if "->" not in line
    }
    files = (
        file for folder in (".dvc/tmp", ".rootstock") for file in (root / folder).rglob("*lock*")
    )
    return {str(file) for file in files if file.stat().st_ino in held}
