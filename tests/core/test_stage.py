"""What every ``python -m stages.<stage>`` does around its science."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from stages.core.errors import ConfigError, Refused
from stages.core.stage import stage

@stage("demo")
def main(params, track):
    \"\"\"What demo does.\"\"\"
    track.metrics({"loss": float("nan"), "seed": params.seed}, step=3)
    if params.seed == 1:
        raise Refused("demo says no: 3 of 5")
    if params.seed == 2:
        raise ZeroDivisionError("a bug")

main()
"""


def run(
    folder: Path, seed: int, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], list[dict]]:
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "params.yaml").write_text(
        (folder / "params.yaml").read_text().replace("seed: 0", f"seed: {seed}")
    )
    (folder / "demo.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "demo.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    events = folder / ".rootstock/events/demo.jsonl"
    return done, [
        json.loads(line) for line in events.read_text().splitlines()
    ] if events.exists() else []


def test_success_ends_with_code_0_and_leaves_timings_in_the_events(tmp_path: Path) -> None:
    done, events = run(tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert events[0]["kind"] == "start"
    assert events[1]["values"] == {"loss": "nan", "seed": 0.0}
    assert events[1]["step"] == 3
    assert "system.seconds" in events[-2]["values"]
    assert events[-1] | {"time": 0} == {"kind": "end", "code": 0, "message": "", "time": 0}


def test_an_expected_error_is_one_line_and_its_own_exit_code(tmp_path: Path) -> None:
    done, events = run(tmp_path, 1)
    assert (done.returncode, done.stderr) == (1, "demo: demo says no: 3 of 5\n")
    assert events[-1]["code"] == 1


@pytest.mark.parametrize(("seed", "arguments"), [(1, ["--debug"]), (2, [])])
def test_a_bug_or_debug_shows_the_traceback(
    tmp_path: Path, seed: int, arguments: list[str]
) -> None:
    done, _ = run(tmp_path, seed, *arguments)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_help_describes_the_stage(tmp_path: Path) -> None:
    done, _ = run(tmp_path, 0, "--help")
    assert done.returncode == 0
    assert "What demo does." in done.stdout
