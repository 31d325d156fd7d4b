"""``rootstock doctor`` recognises what breaks the tools and says how to fix it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torchvision

from flows.project.doctor import (
    FAIL,
    OK,
    RANGES,
    Finding,
    pair_finding,
    range_finding,
    servers,
    show,
)

ROOT = Path(__file__).resolve().parents[3]


def doctor(folder: Path, *search: Path) -> subprocess.CompletedProcess[str]:
    """The command, in a folder, with more places to import from first."""
    places = os.pathsep.join(map(str, (*search, ROOT)))
    command = [sys.executable, "-m", "flows.cli", "doctor"]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_torchvision_of_another_build_is_named_and_how_to_mend_it(tmp_path: Path) -> None:
    """A real one: torchvision without the operators compiled for this torch, which is what a
    mismatch amounts to.
    """
    mismatched = tmp_path / "elsewhere" / "torchvision"
    mismatched.mkdir(parents=True)
    for part in Path(torchvision.__file__).parent.iterdir():
        if not part.name.startswith("_C."):
            (mismatched / part.name).symlink_to(part)
    done = doctor(tmp_path, mismatched.parent)
    assert done.returncode == 2, done
    line = next(line for line in done.stdout.splitlines() if " torch " in line)
    assert line.startswith("fail") and "operator torchvision::nms does not exist" in line
    assert "make setup" in done.stdout


def test_here_the_pair_is_well_and_a_folder_without_a_project_is_no_failure(tmp_path: Path) -> None:
    done = doctor(tmp_path)
    assert done.returncode == 0, done
    assert any(line.split()[:2] == ["ok", "torch"] for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("error", "torch", "vision", "state", "words"),
    [
        ("", "2.13.0+cu130", "0.28.0+cu130", OK, "torch 2.13.0"),
        ("", "2.13.0", "0.28.0", OK, "torchvision 0.28.0"),
        ("", "2.13.0+cpu", "0.28.0+cu130", FAIL, "one is built for cpu, the other for cu130"),
        (
            "RuntimeError: operator torchvision::nms does not exist",
            "2.13.0+cpu",
            "0.28.0",
            FAIL,
            "different torch builds",
        ),
        ("ImportError: libcudart.so.13: no such file", "2.13.0", "0.28.0", FAIL, "libcudart.so.13"),
        ("", None, "0.28.0", FAIL, "torch is not installed"),
        ("", "2.13.0", None, FAIL, "torchvision is not installed"),
    ],
)
def test_what_is_said_of_a_pair(
    error: str, torch: str | None, vision: str | None, state: str, words: str
) -> None:
    found = pair_finding(error, torch, vision)
    assert found.state == state and words in found.found
    assert bool(found.fix) == (state == FAIL)


@pytest.mark.parametrize("name", RANGES)
def test_versions_outside_the_working_range_fail(name: str) -> None:
    low, high = (".".join(map(str, bound)) for bound in RANGES[name])
    assert range_finding(name, f"{low}.7").state == OK
    assert range_finding(name, f"{high}.0").state == FAIL
    assert range_finding(name, "0.1").state == FAIL
    assert "not installed" in range_finding(name, None).found


def test_one_failure_makes_the_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    well, ill = Finding("a", OK, "fine"), Finding("b", FAIL, "broken", "mend it")
    assert show([well]) == 0 and show([well, ill]) == 2
    assert "→ mend it" in capsys.readouterr().out


def test_servers_that_the_environment_names_and_that_do_not_answer_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    found = {finding.subject: finding for finding in servers()}
    assert [finding.state for finding in found.values()] == [FAIL, FAIL]
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:9" in found["mlflow store"].found
    assert "unset PREFECT_API_URL" in found["prefect server"].fix
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("PREFECT_API_URL")
    assert [finding.state for finding in servers()] == [OK]
