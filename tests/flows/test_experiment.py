"""Experiments on a small real DVC project: shared work done once, failures isolated, resumed after SIGKILL, conclusions drawn."""

from __future__ import annotations

import csv
import json
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.flows.tiny import Tiny, tiny

METHODS = "pretrain.method=simclr,instance"


@pytest.fixture
def project(tmp_path: Path, _blank: Path, server: str) -> Tiny:
    return with_versions(tmp_path / "project", _blank / "mlruns")


def with_versions(root: Path, store: Path) -> Tiny:
    made = tiny(root, store)
    made.version("v1", "0.5 0.5 0.5 0.5")
    made.version("v2", "0.6 0.6 0.6 0.6")
    made.log.unlink()
    return made


def table(project: Tiny, name: str) -> list[dict[str, str]]:
    with (project.root / f"reports/experiments/{name}/table.csv").open() as file:
        return list(csv.DictReader(file))


def runs(project: Tiny, kind: str) -> list[tuple[str, str, str]]:
    """Name, status and parent of the MLflow runs of a kind."""
    query = """select r.name, r.status, p.value from runs r join tags k on k.run_uuid = r.run_uuid and k.key = 'rootstock.kind'
               left join tags p on p.run_uuid = r.run_uuid and p.key = 'mlflow.parentRunId' where k.value = ? order by r.name"""
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as store:
        return store.execute(query, [kind]).fetchall()


def test_cells_share_work_and_the_better_version_is_named(project: Tiny) -> None:
    head, status = project.git("rev-parse", "HEAD"), project.git("status", "--porcelain")
    arguments = ["experiment", "--data", "v1,v2", "--set", METHODS, "--seeds", "2", "--jobs", "2", "--name", "first"]
    printed = project.rootstock(*arguments)
    assert "Dataset version v2 is better: 0." in printed
    assert "more than seed noise" in printed
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
    assert (project.git("rev-parse", "HEAD"), project.git("status", "--porcelain")) == (head, status)

    done = project.executions()
    again = project.rootstock(*arguments)
    assert project.executions() == done
    assert "Dataset version v2 is better" in again
    assert "exists with other cells" in project.rootstock("experiment", "--data", "v1", "--name", "first", code=2)


def test_a_failing_cell_is_named_and_harms_no_other_and_the_same_command_mends_it(project: Tiny) -> None:
    arguments = ["experiment", "--data", "v1,v2", "--set", METHODS, "--jobs", "2", "--name", "broken"]
    printed = project.rootstock(*arguments, code=3, TINY_BREAK="1")
    assert "v1 pretrain.method=instance seed=0: pretrain: the instance method is broken today" in printed
    assert "2 of 4 cells failed" in printed
    assert [row["state"] for row in table(project, "broken")] == ["finished", "failed"] * 2
    before = project.executions("evaluate")
    project.rootstock(*arguments)
    assert {row["state"] for row in table(project, "broken")} == {"finished"}
    assert project.executions("evaluate") == before + 2
    assert {state for _, state, _ in runs(project, "cell")} == {"FINISHED"}


def test_two_experiments_at_once_share_what_both_need(project: Tiny) -> None:
    named = {"left": "1", "right": "2"}
    asked = [
        project.start("experiment", "--data", "v1,v2", "--seeds", seeds, "--name", name, TINY_SLEEP="0.3")
        for name, seeds in named.items()
    ]
    for process in asked:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    assert [len(table(project, name)) for name in named] == [2, 4]
    assert {row["state"] for name in named for row in table(project, name)} == {"finished"}
    left, right = ({(row["data"], row["seed"]): row["score"] for row in table(project, name)} for name in named)
    assert left.items() <= right.items()
    assert (project.executions("curate"), project.executions("pretrain")) == (2, 4)  # not 4 and 6
    assert [state for _, state, _ in runs(project, "experiment")] == ["FINISHED"] * 2
    assert project.git("worktree", "list").count("\n") == 0


def test_killed_at_any_point_it_goes_on_and_leaves_no_process(project: Tiny, _blank: Path) -> None:
    arguments = ["experiment", "--data", "v1,v2", "--set", METHODS, "--jobs", "2", "--name", "killed"]
    for reached in (1, 3):
        process = project.start(*arguments, TINY_SLEEP="0.5")
        deadline = time.monotonic() + 120
        while project.executions("pretrain") < reached:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(1)
        assert project.processes() == []
    project.rootstock(*arguments)
    rows = table(project, "killed")
    assert [row["state"] for row in rows] == ["finished"] * 4
    assert project.executions("pretrain") <= 4 + 4  # at most what ran when it was killed, per job, is done again
    assert len(runs(project, "cell")) == 4
    assert len(runs(project, "experiment")) == 1
    other = with_versions(project.root.parent / "undisturbed", _blank / "mlruns")
    other.rootstock(*arguments)
    assert [row["score"] for row in table(other, "killed")] == [row["score"] for row in rows]


def test_the_working_tree_is_a_version_with_its_uncommitted_code_and_data(project: Tiny) -> None:
    (project.root / "source.txt").write_text("0.9 0.9")
    script = project.root / "evaluate.py"
    script.write_text(script.read_text().replace('"accuracy": ', '"accuracy": 1 + '))
    project.rootstock("experiment", "--data", "v1,WORKDIR", "--name", "work")
    scores = {row["data"]: float(row["score"]) for row in table(project, "work")}
    assert scores["v1"] == pytest.approx(1.6, abs=0.05)
    assert scores["WORKDIR"] == pytest.approx(2.0, abs=0.05)


def test_what_cannot_be_run_is_refused_before_anything_is(project: Tiny) -> None:
    refusals = {
        ("--data", "v3"): "no dataset version 'v3'; did you mean",
        ("--data", "v1", "--set", "ingest.labelled_fraction=0.1,0.2"): "it makes the data",
        ("--data", "v1", "--set", "pretrain.methd=a,b"): "pretrain.methd",
        ("--data", "v1", "--set", "pretrain.epochs=1..9"): "a range needs --sample N or --optuna N",
        ("--data", "v1", "--metric", "accuracy"): "expected STAGE:KEY",
        ("--data", "v1", "--seeds", "0"): "--seeds 0: must be 1 or more",
    }
    for arguments, words in refusals.items():
        assert words in project.rootstock("experiment", *arguments, code=2)
    assert not (project.root / ".rootstock/experiments").exists()
    assert project.executions() == 0


def test_optuna_prunes_poor_trials_and_samples_cover_a_range(project: Tiny) -> None:
    arguments = ["--data", "v1,v2", "--set", "pretrain.method=simclr,barlow_twins,instance", "--seeds", "3", "--jobs", "2"]
    printed = project.rootstock("experiment", *arguments, "--optuna", "8", "--name", "search")
    rows = table(project, "search")
    assert 8 < len(rows) < 24  # pruned after the first or second seed, or asked for twice
    best = max(rows, key=lambda row: float(row["score"]))
    assert (best["data"], best["pretrain.method"]) == ("v2", "barlow_twins")
    assert "search" in printed
    project.rootstock("experiment", "--data", "v1", "--set", "pretrain.epochs=1..40", "--sample", "3", "--name", "sampled")
    assert len({row["pretrain.epochs"] for row in table(project, "sampled")}) == 3
