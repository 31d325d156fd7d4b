"""``rootstock run`` on a small real project: what runs, what is cached, what is said, and with
which exit code.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from typing import Any

import yaml

SLOW = "    time.sleep(2)"
DIES_ONCE = """
    import os, signal
    mark = Path(".rootstock/died")
    if not mark.exists():
        mark.write_text("once")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_everything_runs_once_and_is_cached_after(project: Any) -> None:
    first = project.rootstock("run")
    assert first.code == 0, first
    assert project.states(first.out) == dict.fromkeys("abcd", "ran")
    assert project.text("data/d.txt") == "abacd"
    assert "letters 5" in first.out
    second = project.rootstock("run")
    assert second.code == 0, second
    assert project.states(second.out) == dict.fromkeys("abcd", "cached")
    assert stage_runs(project) == dict.fromkeys("abcd", 1), "a cached stage makes no second run"


def test_a_parameter_reruns_what_depends_on_it_and_no_more(project: Any) -> None:
    before = yaml.safe_load(project.text("params.yaml"))["pretrain"]["epochs"]
    project.rootstock("run")
    again = project.rootstock("run", "--set", "pretrain.epochs=7")
    assert project.states(again.out) == {"a": "cached", "b": "cached", "c": "ran", "d": "cached"}, (
        again
    )
    assert f"pretrain.epochs {json.dumps(before)} → 7" in again.out
    assert "epochs: 7" in project.text("params.yaml")
    back = project.rootstock("run", "--set", f"pretrain.epochs={before}")
    assert project.states(back.out) == {
        "a": "cached",
        "b": "cached",
        "c": "restored",
        "d": "cached",
    }, back
    assert stage_runs(project)["c"] == 2, (
        "what DVC's run cache restores is linked to the run that made it"
    )


def test_a_stage_below_reruns_only_where_its_input_came_out_different(project: Any) -> None:
    project.rootstock("run")
    script = project.root / "little/a/run.py"
    script.write_text(script.read_text() + "\n# a comment\n")
    changed = project.rootstock("run")
    assert project.states(changed.out) == {
        "a": "ran",
        "b": "cached",
        "c": "cached",
        "d": "cached",
    }, changed
    assert "code: little/a/run.py" in changed.out


def test_plan_names_the_change_and_runs_nothing(project: Any) -> None:
    fresh = project.rootstock("plan")
    assert fresh.code == 0 and fresh.out.count("never ran") == 4, fresh
    project.rootstock("run")
    assert "nothing to do" in project.rootstock("plan").out


def test_plan_tells_what_was_only_lost_from_what_must_be_made(project: Any) -> None:
    project.rootstock("run")
    (project.root / "data/a.txt").unlink()
    (project.root / "data/a.txt").write_text("by hand")
    (project.root / "data/b.txt").unlink()
    lines = {line.split()[0]: line for line in project.rootstock("plan").out.splitlines()}
    assert {name: line.split()[1] for name, line in lines.items()} == {
        "a": "restored",
        "b": "restored",
        "c": "cached",
        "d": "cached",
    }
    assert lines["a"].endswith("data/a.txt is not what dvc.lock says: DVC's cache has it")
    assert project.text("data/a.txt") == "by hand"
    shutil.rmtree(project.root / ".dvc/cache/files")
    lines = {line.split()[0]: line for line in project.rootstock("plan").out.splitlines()}
    assert [lines[name].split()[1] for name in "ab"] == ["run", "run"], lines


def test_a_lost_cache_is_filled_from_the_workspace_and_nothing_runs_again(project: Any) -> None:
    project.rootstock("run")
    shutil.rmtree(project.root / ".dvc/cache")
    assert "nothing to do" in project.rootstock("plan").out
    assert not (project.root / ".dvc/cache/files").exists(), "plan changes nothing"
    again = project.rootstock("run")
    assert project.states(again.out) == dict.fromkeys("abcd", "cached"), again
    (project.root / "data/d.txt").unlink()
    back = project.rootstock("run")
    assert project.states(back.out)["d"] == "restored", back
    assert project.text("data/d.txt") == "abacd"


def test_plan_for_other_values_leaves_the_file_as_it_was(ran: Any) -> None:
    before = ran.text("params.yaml")
    supposed = ran.rootstock("plan", "--set", "pretrain.epochs=7", "--set", "seed=0")
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in supposed.out.splitlines()}
    assert {name: line[0] for name, line in lines.items()} == {
        "a": "cached",
        "b": "cached",
        "c": "run",
        "d": "maybe",
    }, supposed
    assert 'pretrain.epochs "auto" → 7' in lines["c"][1]
    refused = ran.rootstock("plan", "--set", "pretrain.epochs=-1")
    assert refused.code == 2 and "pretrain.epochs is -1" in refused.err, refused
    assert ran.text("params.yaml") == before
    assert "nothing to do" in ran.rootstock("plan").out
    assert not list(ran.root.glob(".rootstock/plan.*"))


def test_a_stage_that_says_no_stops_what_is_below_it(project: Any) -> None:
    project.add(
        "b",
        ["data/a.txt"],
        "data/b.txt",
        "b",
        body='    raise Refused("the data is not good enough")',
    )
    refused = project.rootstock("run")
    assert refused.code == 1, refused
    assert project.states(refused.out) == {"a": "ran", "b": "failed", "c": "ran", "d": "waiting"}
    assert refused.err.strip() == "rootstock: b: the data is not good enough"
    assert "continue with: rootstock run" in refused.out
    assert stage_runs(project, "FAILED") == {"b": 1}, "a no is not retried"
    project.add("b", ["data/a.txt"], "data/b.txt", "b")
    mended = project.rootstock("run")
    assert mended.code == 0 and project.states(mended.out) == {
        "a": "cached",
        "b": "ran",
        "c": "cached",
        "d": "ran",
    }, mended


def test_a_stage_that_breaks_is_exit_code_three_with_its_own_words(project: Any) -> None:
    project.add("b", ["data/a.txt"], "data/b.txt", "b", body='    raise RuntimeError("boom")')
    broken = project.rootstock("run", "--to", "b", "--force", "a", "--force", "b")
    assert broken.code == 3, broken
    assert project.states(broken.out) == {"a": "ran", "b": "failed"}
    assert "RuntimeError: boom" in broken.err.splitlines()[-1]
    assert "continue with: rootstock run --to b --force b\n" in broken.out, (
        "what was forced and ran is done"
    )


def test_a_stage_that_a_signal_ends_is_tried_again(project: Any) -> None:
    project.add("b", ["data/a.txt"], "data/b.txt", "b", body=DIES_ONCE)
    survived = project.rootstock("run")
    assert survived.code == 0, survived
    assert project.states(survived.out) == dict.fromkeys("abcd", "ran")
    assert stage_runs(project, "KILLED") == {"b": 1}
    assert stage_runs(project)["b"] == 1


def test_independent_stages_run_side_by_side(project: Any) -> None:
    for name in "bc":
        project.add(name, ["data/a.txt"], f"data/{name}.txt", name, body=SLOW)
    assert project.rootstock("run").code == 0
    spans = {}
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as database:
        for name, start, end in database.execute("SELECT name, start_time, end_time FROM runs"):
            spans[name] = (start, end)
    assert spans["b"][0] < spans["c"][1] and spans["c"][0] < spans["b"][1]


def test_force_reruns_a_fresh_stage(project: Any) -> None:
    project.rootstock("run")
    forced = project.rootstock("run", "--force", "b")
    assert project.states(forced.out) == {
        "a": "cached",
        "b": "ran",
        "c": "cached",
        "d": "cached",
    }, forced


def test_what_a_stage_says_reaches_mlflow(project: Any) -> None:
    project.rootstock("run")
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as database:
        read = database.execute(
            "SELECT key, value, step FROM metrics JOIN runs USING (run_uuid) WHERE name = 'd'"
        ).fetchall()
        tags = dict(
            database.execute(
                "SELECT key, value FROM tags JOIN runs USING (run_uuid) WHERE name = 'd'"
            )
        )
        params = dict(
            database.execute(
                "SELECT key, value FROM params JOIN runs USING (run_uuid) WHERE name = 'd'"
            )
        )
    assert ("letters", 5.0, 1) in read and any(key == "system.seconds" for key, _, _ in read)
    assert params == {"seed": "0"}
    assert tags["git.dirty"] == "false" and len(tags["git.commit"]) == 40
    assert set(json.loads(tags["rootstock.parents"])) == {"data/b.txt", "data/c.txt"}
    assert tags["machine.python"]


def stage_runs(project: Any, status: str = "FINISHED") -> dict[str, int]:
    """How many runs of each stage the store holds."""
    with sqlite3.connect(project.root / "mlruns/mlflow.db") as database:
        rows = database.execute(
            "SELECT name, count(*) FROM runs WHERE status = ? AND name <> 'pipeline' GROUP BY name",
            (status,),
        )
        return dict(rows)
