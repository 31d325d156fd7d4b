"""What a person sees who made a mistake: one clear line, exit code 2, and nothing changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.pipeline import planning
from flows.pipeline.request import Stopped

MISTAKES = {
    "unknown key": (
        ["--set", "pretrain.epoch=3"],
        "pretrain.epoch is not a parameter; did you mean 'epochs'?",
    ),
    "wrong type": (["--set", "pretrain.epochs=many"], "pretrain.epochs is 'many'"),
    "no value": (["--set", "pretrain.epochs"], "expected key=value"),
    "unknown section": (["--set", "pretrian.epochs=3"], "did you mean 'pretrain'?"),
    "unknown method": (["--set", "pretrain.method=simclrr"], "did you mean 'simclr'?"),
    "unknown gate": (["--set", "promote.gates.acuracy=1"], "did you mean 'accuracy'?"),
    "missing folder": (["--set", "ingest.source=folder:/nowhere"], "/nowhere does not exist"),
    "unknown source": (["--set", "ingest.source=digit"], "did you mean 'digits'?"),
    "unknown stage": (["--to", "z"], "there is no stage 'z' in dvc.yaml; choose from a"),
}


@pytest.fixture
def one(bare_project: Any) -> Any:
    """One stage."""
    bare_project.add("a", [], "data/a.txt", "a")
    return bare_project


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_refused_call_changes_nothing(one: Any, mistake: str, server: str) -> None:
    arguments, line = MISTAKES[mistake]
    before = snapshot(one.root)
    refused = one.rootstock("run", *arguments)
    assert refused.code == 2, refused
    assert line in refused.err and refused.err.count("\n") == 1, refused
    assert snapshot(one.root) == before


def test_an_empty_folder_and_one_class_are_refused(one: Any, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "empty").mkdir()
    (tmp_path / "single" / "cats").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "single/cats/1.png")
    for folder, line in {"empty": "no images", "single": "one class"}.items():
        refused = one.rootstock("run", "--set", f"ingest.source=folder:{tmp_path / folder}")
        assert refused.code == 2 and line in refused.err and refused.err.count("\n") == 1, refused


def test_who_only_asks_may_be_where_the_images_are_not(one: Any) -> None:
    file = one.root / "params.yaml"
    file.write_text(file.read_text().replace("source: digits", "source: folder:/nowhere"))
    for arguments in (
        ["audit", "0" * 64],
        ["lineage", "rootstock-classifier@champion"],
        ["rollback"],
    ):
        assert "/nowhere" not in one.rootstock(*arguments).err
    assert "/nowhere does not exist" in one.rootstock("run").err


def test_params_that_are_no_yaml_name_the_line(one: Any) -> None:
    (one.root / "params.yaml").write_text("seed: 0\ningest: [\n")
    refused = one.rootstock("run")
    assert (
        refused.code == 2 and "params.yaml, line" in refused.err and refused.err.count("\n") == 1
    ), refused


@pytest.mark.parametrize("call", [["run"], ["run", "--set", "seed=1"], ["plan", "--set", "seed=1"]])
@pytest.mark.parametrize("again", ["pretrain:\n  epochs: 3\n", "seed: 3\n"])
def test_a_section_that_stands_twice_is_named_with_both_lines(
    one: Any, again: str, call: list[str]
) -> None:
    path = one.root / "params.yaml"
    text = path.read_text()
    key = again.partition(":")[0]
    first = (
        text.splitlines().index(
            next(line for line in text.splitlines() if line.startswith(f"{key}:"))
        )
        + 1
    )
    path.write_text(text + again)
    refused = one.rootstock(*call)
    assert refused.code == 2 and refused.err.count("\n") == 1, refused
    assert (
        f"line {len(text.splitlines()) + 1}: '{key}' stands here again, first in line {first}"
        in refused.err
    )


def test_a_folder_without_git_is_named(one: Any) -> None:
    shutil.rmtree(one.root / ".git")
    refused = one.rootstock("run")
    assert (
        refused.code == 2
        and "is not a git repository" in refused.err
        and refused.err.count("\n") == 1
    ), refused


@pytest.mark.parametrize("missing", ["dvc.yaml", "params.yaml"])
def test_a_missing_file_is_named(one: Any, missing: str) -> None:
    (one.root / missing).unlink()
    refused = one.rootstock("run")
    assert refused.code == 2 and f"{missing} is missing in {one.root}" in refused.err, refused


def test_outside_a_project_it_says_so(one: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    refused = one.rootstock("plan", cwd=elsewhere)
    assert refused.code == 2 and "is not inside a Rootstock project" in refused.err, refused


def test_a_subfolder_will_do(one: Any) -> None:
    below = one.root / "some" / "where"
    below.mkdir(parents=True)
    assert "a          run" in one.rootstock("plan", cwd=below).out


@pytest.mark.parametrize("how", ["a file", "read-only"])
def test_an_unwritable_store_is_one_line(one: Any, how: str) -> None:
    shutil.rmtree(one.root / "mlruns")
    if how == "a file":
        (one.root / "mlruns").write_text("")
    else:
        (one.root / "mlruns").mkdir()
        (one.root / "mlruns").chmod(0o555)
    before = snapshot(one.root)
    refused = one.rootstock("run")
    assert (
        refused.code == 2
        and "mlruns cannot be written" in refused.err
        and refused.err.count("\n") == 1
    ), refused
    assert snapshot(one.root) == before


def test_a_place_that_may_not_be_written_is_one_line_with_what_to_do(one: Any) -> None:
    shutil.rmtree(one.root / ".dvc/tmp", ignore_errors=True)
    (one.root / ".dvc/tmp").symlink_to("/sys/kernel")  # where not even root may make a file
    asked = one.rootstock("plan")
    assert asked.code == 2 and asked.err.count("\n") == 1, asked
    assert ".dvc/tmp" in asked.err and "needs write access to the project directory" in asked.err


def test_a_damaged_note_about_code_costs_no_more_than_the_name_of_the_file(one: Any) -> None:
    assert one.rootstock("run").code == 0
    notes = list((one.root / ".rootstock/cache/code").glob("*.json"))
    for note in notes:
        note.write_text("{")
    one.add("a", [], "data/a.txt", "other")
    asked = one.rootstock("plan")
    assert asked.code == 0 and "run" in asked.out, asked


def test_a_server_that_does_not_answer_is_named(one: Any) -> None:
    address = "http://127.0.0.1:9/api"
    refused = one.rootstock("run", environment={"PREFECT_API_URL": address})
    assert (
        refused.code == 2
        and f"no Prefect server answers at PREFECT_API_URL={address}" in refused.err
    ), refused


def test_a_typo_in_dvc_yaml_is_one_line(one: Any) -> None:
    (one.root / "dvc.yaml").write_text("stages:\n  a:\n    cmdd: python x\n")
    refused = one.rootstock("plan")
    assert refused.code == 2 and "dvc.yaml" in refused.err and refused.err.count("\n") == 1, refused


def test_debug_shows_the_traceback(one: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", "--to", "z", "--debug"],
        cwd=one.root,
        env=one.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and "Traceback" in done.stderr


def snapshot(root: Path) -> dict[str, bytes]:
    """Everything a refused call could have changed."""
    skipped = {
        ".git",
        ".prefect",
        "tmp",
        "cache",
        "params.lock",
    }  # the empty file whose lock a run holds
    files = (
        path
        for path in root.rglob("*")
        if path.is_file() and not skipped & set(path.relative_to(root).parts)
    )
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in files
        if "mlflow.db" not in path.name
    }


def test_an_empty_name_is_not_the_folder_one_is_in(one: Any) -> None:
    refused = one.rootstock("predict", "rootstock-classifier@champion", "")
    assert refused.code == 2 and "one of the arguments is empty" in refused.err, refused


def test_a_run_stopped_inside_another_command_ends_in_one_line(
    one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a drift check's that retrains: whoever leads the run raises KeyboardInterrupt, of which
    Typer makes 130 and Aborted.
    """

    def stopped(*_: object) -> None:
        raise Stopped(None)

    monkeypatch.setattr(planning, "dry_plan", stopped)
    asked = one.rootstock("plan")
    assert asked.code == 3 and asked.err.strip() == "rootstock: stopped", asked


def test_a_full_disk_behind_the_output_is_one_line(one: Any) -> None:
    command = [sys.executable, "-m", "flows.cli", "methods"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command,
            cwd=one.root,
            env=one.environment(None),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (
        done.returncode == 3
        and done.stderr == "rootstock: what is written: No space left on device\n"
    ), done


def test_who_reads_only_the_first_line_sees_no_traceback(one: Any) -> None:
    command = f"{sys.executable} -m flows.cli methods | head -1"
    done = subprocess.run(
        command, shell=True, cwd=one.root, env=one.environment(None), capture_output=True, text=True
    )
    assert done.stderr == "" and done.stdout.count("\n") == 1, done
