"""Experiments on a small real DVC project: shared work done once, failures isolated, resumed after
SIGKILL, conclusions drawn.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.adapters.mlflow import orphans
from flows.adapters.mlflow.store import Store
from flows.experiment import flow
from flows.experiment.flow import _parent
from flows.experiment.search import search
from flows.experiment.spec import Request, Spec
from flows.experiment.state import CellResult, ExperimentState
from flows.process import identity as lives
from tests.support.services import until
from tests.support.toy_stages import Tiny, tiny

METHODS = "pretrain.method=simclr,instance"


FIRST = (
    "experiment",
    "--data",
    "v1,v2",
    "--set",
    METHODS,
    "--seeds",
    "2",
    "--jobs",
    "2",
    "--name",
    "first",
)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory, _blank: Path) -> Tiny:
    """A project with two dataset versions, to copy."""
    made = tiny(tmp_path_factory.mktemp("versions") / "project", _blank / "mlruns")
    made.version("v1", "0.5 0.5 0.5 0.5")
    made.version("v2", "0.6 0.6 0.6 0.6")
    return made


def copied(versions: Tiny, root: Path) -> Tiny:
    shutil.copytree(versions.root, root, symlinks=True)
    return Tiny(root)


@pytest.fixture
def project(versions: Tiny, tmp_path: Path, server: str) -> Tiny:
    return copied(versions, tmp_path / "project")


@pytest.fixture(scope="module")
def compared(versions: Tiny, tmp_path_factory: pytest.TempPathFactory, server: str) -> Tiny:
    """A project in which two versions, two methods and two seeds were compared, undisturbed."""
    project = copied(versions, tmp_path_factory.mktemp("compared") / "project")
    before = project.git("rev-parse", "HEAD"), project.git("status", "--porcelain")
    project.printed = project.rootstock(*FIRST)
    assert (project.git("rev-parse", "HEAD"), project.git("status", "--porcelain")) == before
    return project


def table(project: Tiny, name: str) -> list[dict[str, str]]:
    with (project.root / f"reports/experiments/{name}/table.csv").open() as file:
        return list(csv.DictReader(file))


def runs(project: Tiny, kind: str) -> list[tuple[str, str, str]]:
    """Name, status and parent of the MLflow runs of a kind."""
    query = """select r.name, r.status, p.value from runs r join tags k on k.run_uuid = r.run_uuid and k.key = 'rootstock.kind'
               left join tags p on p.run_uuid = r.run_uuid and p.key = 'mlflow.parentRunId' where k.value = ? order by r.name"""  # noqa: E501
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as store:
        return store.execute(query, [kind]).fetchall()


def test_cells_share_work_and_the_better_version_is_named(compared: Tiny) -> None:
    project = compared
    assert "Dataset version v2 is better: 0." in project.printed
    assert "more than seed noise" in project.printed
    rows = table(project, "first")
    assert len(rows) == 8
    assert {row["state"] for row in rows} == {"finished"}
    assert (project.executions("ingest"), project.executions("curate")) == (0, 2)
    assert (project.executions("pretrain"), project.executions("evaluate")) == (8, 8)
    effects = json.loads((project.root / "reports/experiments/first/effects.json").read_text())
    assert effects["shares"]["data"] > 0.3
    assert effects["shares"]["pretrain.method"] > 0.3
    assert 0 < effects["shares"]["seed"] < 0.1
    assert effects["verdict"]["low"] < 0.1 < effects["verdict"]["high"]
    page = (project.root / "reports/experiments/first/index.html").read_text()
    assert page.count("<svg") == 2
    assert effects["sentence"] in page
    ((parent, state, _),) = runs(project, "experiment")
    cells = runs(project, "cell")
    assert (parent, state) == ("experiment first", "FINISHED")
    assert len(cells) == 8
    assert len({above for _, _, above in cells}) == 1
    assert project.git("worktree", "list").count("\n") == 0

    done = project.executions()
    again = project.rootstock(*FIRST)
    assert project.executions() == done
    assert "Dataset version v2 is better" in again
    assert "exists with other cells" in project.rootstock(
        "experiment", "--data", "v1", "--name", "first", code=2
    )


def test_a_failing_cell_is_named_and_harms_no_other_and_the_same_command_mends_it(
    project: Tiny,
) -> None:
    arguments = [
        "experiment",
        "--data",
        "v1",
        "--set",
        "pretrain.method=instance,simclr",
        "--name",
        "broken",
    ]
    printed = project.rootstock(
        *arguments, code=3, TINY_BREAK="1"
    )  # one worker: it goes on after the failure
    assert (
        "v1 pretrain.method=instance seed=0: pretrain: the instance method is broken today"
        in printed
    )
    assert "1 of 2 cells failed" in printed
    assert [row["state"] for row in table(project, "broken")] == ["failed", "finished"]
    assert project.executions("evaluate") == 1
    project.rootstock(*arguments)
    assert {row["state"] for row in table(project, "broken")} == {"finished"}
    assert project.executions("evaluate") == 2
    assert {state for _, state, _ in runs(project, "cell")} == {"FINISHED"}


@pytest.mark.slow
def test_two_experiments_at_once_share_what_both_need(project: Tiny) -> None:
    named = {"left": "1", "right": "2"}
    asked = [
        project.start(
            "experiment", "--data", "v1,v2", "--seeds", seeds, "--name", name, TINY_SLEEP="0.3"
        )
        for name, seeds in named.items()
    ]
    for process in asked:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    assert [len(table(project, name)) for name in named] == [2, 4]
    assert {row["state"] for name in named for row in table(project, name)} == {"finished"}
    left, right = (
        {(row["data"], row["seed"]): row["score"] for row in table(project, name)} for name in named
    )
    assert left.items() <= right.items()
    assert (project.executions("curate"), project.executions("pretrain")) == (2, 4)  # not 4 and 6
    assert [state for _, state, _ in runs(project, "experiment")] == ["FINISHED"] * 2
    assert project.git("worktree", "list").count("\n") == 0


def test_a_worker_that_looks_for_its_leader_does_not_keep_a_new_one_away(tmp_path: Path) -> None:
    """Workers of a leader that died ask for its lock for a moment, again and again; the next leader
    waits for that moment.
    """
    board, looking = ExperimentState(tmp_path), threading.Event()

    def look() -> None:
        with ExperimentState(tmp_path).sole_coordinator():
            looking.set()
            time.sleep(0.1)

    worker = threading.Thread(target=look)
    worker.start()
    looking.wait()
    with board.sole_coordinator() as alone:
        assert alone and board.led()
    worker.join()
    assert not board.led()


def test_a_resumed_experiment_is_not_taken_for_the_killed_one(
    bare_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``rootstock run`` beside it closes what dead processes left open: not this. A store made anew
    gets a new run.
    """
    monkeypatch.chdir(bare_project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store, board = Store.open(), ExperimentState(bare_project.root / "board")
    spec = Spec(
        "x",
        str(bare_project.root),
        "c" * 40,
        {"v1": "c" * 40},
        ("ingest",),
        "metrics/a.json",
        "a",
        False,
        None,
        "i",
    )
    run = _parent(spec, board, store)
    store.tag(
        run, {lives.PROCESS: f"{os.uname().nodename} 1 1"}
    )  # the process that began it is gone
    assert _parent(spec, board, store) == run
    assert orphans.close(store) == [] and store.client.get_run(run).info.status == "RUNNING"
    (board.folder / "parent").write_text("0" * 32)
    again = _parent(spec, board, store)
    assert again != run and _parent(spec, board, store) == again


def running(project: Tiny, process: subprocess.Popen[str], before: int) -> None:
    """Wait until it has begun to train."""
    until(lambda: project.executions("pretrain") > before or process.poll() is not None)
    assert process.poll() is None, process.stdout.read() if process.stdout else ""


def test_ctrl_c_is_not_lost_wherever_it_falls(
    project: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised where it fell it was swallowed by Prefect, or left an import locked for ever."""

    def interrupted(*_: object) -> None:
        with suppress(BaseException):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(flow, "_show", interrupted)
    said = project.rootstock(
        "experiment", "--data", "v1", "--set", METHODS, "--name", "interrupted", code=3
    )
    assert said.rstrip().endswith("rootstock: stopped; the same command goes on where it was")
    until(lambda: project.processes() == [])


@pytest.mark.slow
def test_killed_at_any_point_it_goes_on_and_leaves_no_process(
    project: Tiny, compared: Tiny, server: str
) -> None:
    arguments = [
        "experiment",
        "--data",
        "v1,v2",
        "--set",
        METHODS,
        "--jobs",
        "2",
        "--name",
        "killed",
    ]
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        before = project.executions("pretrain")
        process = project.start(*arguments, TINY_SLEEP="0.5")
        running(project, process, before)
        process.send_signal(number)
        said = "".join(filter(None, process.communicate()))
        assert (number == signal.SIGKILL) or said.rstrip().endswith(
            "rootstock: stopped; the same command goes on where it was"
        ), said
        until(lambda: project.processes() == [])
    project.rootstock(*arguments)
    rows = table(project, "killed")
    assert [row["state"] for row in rows] == ["finished"] * 4
    assert (
        project.executions("pretrain") <= 4 + 6
    )  # at most what ran when it was killed, per job, is done again
    assert len(runs(project, "cell")) == 4
    assert len(runs(project, "experiment")) == 1
    undisturbed = [row["score"] for row in table(compared, "first") if row["seed"] == "0"]
    assert [row["score"] for row in rows] == undisturbed
    asked = httpx.post(
        f"{server}/flow_runs/filter", json={"flow_runs": {"name": {"any_": ["killed"]}}}
    )
    states = sorted(run["state_type"] for run in asked.json())
    assert len(states) == 4 and states[-1] == "CRASHED" and "RUNNING" not in states, states


def test_the_working_tree_is_a_version_with_its_uncommitted_code_and_data(project: Tiny) -> None:
    (project.root / "source.txt").write_text("0.9 0.9")
    script = project.root / "evaluate.py"
    script.write_text(script.read_text().replace('"accuracy": ', '"accuracy": 1 + '))
    project.rootstock("experiment", "--data", "v1,WORKDIR", "--name", "work")
    scores = {row["data"]: float(row["score"]) for row in table(project, "work")}
    assert scores["v1"] == pytest.approx(1.6, abs=0.05)
    assert scores["WORKDIR"] == pytest.approx(2.0, abs=0.05)


def test_what_cannot_be_run_is_refused_before_anything_is(compared: Tiny) -> None:
    refusals = {
        ("--data", "v3"): "no dataset version 'v3'; did you mean",
        ("--data", "v1", "--set", "ingest.labelled_fraction=0.1,0.2"): "it makes the data",
        ("--data", "v1", "--set", "pretrain.methd=a,b"): "pretrain.methd",
        ("--data", "v1", "--set", "pretrain.epochs=1..9"): "a range needs --sample N or --optuna N",
        ("--data", "v1", "--metric", "accuracy"): "expected STAGE:KEY",
        ("--data", "v1", "--seeds", "0"): "--seeds 0: must be 1 or more",
    }
    before = compared.executions(), sorted((compared.root / ".rootstock/experiments").iterdir())
    for arguments, words in refusals.items():
        assert words in compared.rootstock("experiment", *arguments, code=2)
    assert (
        compared.executions(),
        sorted((compared.root / ".rootstock/experiments").iterdir()),
    ) == before


@pytest.mark.slow
def test_optuna_and_samples_ask_for_cells_and_take_from_the_cache_what_is_there(
    compared: Tiny,
) -> None:
    before = compared.executions("pretrain")
    arguments = ["--data", "v1,v2", "--set", METHODS, "--seeds", "2", "--jobs", "2"]
    printed = compared.rootstock("experiment", *arguments, "--optuna", "6", "--name", "search")
    rows = table(compared, "search")
    assert {row["state"] for row in rows} == {"finished"}
    assert 4 < len(rows) <= 8  # four configurations, one seed of each but the best at least
    best = max(rows, key=lambda row: float(row["score"]))
    assert (best["data"], best["pretrain.method"]) == ("v2", "simclr")
    assert "v2 is better" in printed
    assert compared.executions("pretrain") == before
    compared.rootstock(
        "experiment",
        "--data",
        "v1",
        "--set",
        "pretrain.epochs=1..40",
        "--sample",
        "3",
        "--name",
        "sampled",
    )
    assert len({row["pretrain.epochs"] for row in table(compared, "sampled")}) == 3
    assert compared.executions("pretrain") == before + 3


SCORES = {
    "simclr": 0.1,
    "barlow_twins": 0.2,
    "vicreg": 0.15,
    "byol": 0.05,
    "instance": 0.0,
    "v1": 0.5,
    "v2": 0.6,
}


def answered(request: Request) -> dict[str, CellResult]:
    """Play an experiment whose scores are known: every cell a search proposes is answered at
    once.
    """
    asked, results = search(request), dict[str, CellResult]()
    while cells := asked.propose(results):
        for cell in cells:
            score = (
                SCORES[cell.data]
                + SCORES[dict(cell.settings)["pretrain.method"]]
                + 0.001 * cell.seed
            )
            results[cell.identity] = CellResult(cell.identity, "finished", score=score)
    return results


def test_optuna_gives_poor_configurations_no_further_seeds_and_finds_the_best() -> None:
    methods = ("pretrain.method=simclr,barlow_twins,vicreg,byol,instance",)
    request = Request(("v1", "v2"), methods, seeds=5, jobs=2, name="x", optuna=16)
    results = answered(request)
    every = {
        cell.identity: cell for cell in Request(("v1", "v2"), methods, seeds=5, name="x").cells()
    }
    seeds = Counter(
        (every[one].data, dict(every[one].settings)["pretrain.method"]) for one in results
    )
    assert seeds["v2", "barlow_twins"] == 5
    poor = [name for name, count in seeds.items() if count < 5]
    assert len(poor) >= 2  # of at most ten
    assert min(seeds.values()) == 1  # stopped after the first
    assert all(SCORES[data] + SCORES[method] < 0.8 for data, method in poor)
    assert len(results) <= 40  # of fifty
    assert answered(request) == results  # a resumed search asks for the same cells
