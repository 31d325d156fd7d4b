"""Whatever happens on the way, the same outputs come out."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.support.checkout import QUICKLY, Project, checkout
from flows.adapters.prefect.server import prefect_server

STAGES = ["ingest", "validate", "curate", "augment", "pretrain", "distill", "finetune", "evaluate"]


def children_of(project: Project) -> list[int]:
    """Processes whose working directory lies in the project."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if (entry / "cwd").readlink().is_relative_to(project.root):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


TRAINING = ["ingest", "pretrain", "finetune", "evaluate"]
PICTURES = {"augment": "augment-preview", "pretrain": "pretrain-embedding"}
"""Stages that are killed last without a staying server, and what they show it when run again."""


@pytest.mark.parametrize("stages", [TRAINING, pytest.param(STAGES, marks=pytest.mark.slow)])
def test_killed_during_a_stage_in_another_directory_it_ends_with_the_same_bytes(
    finished: Project, tmp_path: Path, stages: list[str]
) -> None:
    """Two promises in one: nothing depends on where the project lies, nor on having been killed;
    from the second half on with a server that stays, before with the run's own.
    """
    project, draw = checkout(tmp_path / "project"), random.Random(0)
    half = len(stages) // 2
    for stage in stages[:half]:
        kill_during(project, stage, draw.uniform(0, 1.5), *(QUICKLY if stage == stages[0] else []))
    with staying_server(tmp_path) as address:
        for stage in stages[half:]:
            kill_during(project, stage, draw.uniform(0, 1.5), PREFECT_API_URL=address)
        project.rootstock("run", PREFECT_API_URL=address)
        assert PICTURES[stages[half - 1]] in pictures(address)
    assert project.outputs() == finished.outputs()
    assert {path.split("/")[0] for path in project.outputs()} == {
        "data",
        "metrics",
        "models",
        "reports",
    }
    assert len(project.champion()) == 1


def pictures(address: str) -> set[str]:
    """Keys of the image artifacts a server shows."""
    shown = httpx.post(
        f"{address}/artifacts/filter", json={"artifacts": {"type": {"any_": ["image"]}}}, timeout=30
    ).json()
    return {str(artifact["key"]) for artifact in shown}


@contextmanager
def staying_server(home: Path) -> Iterator[str]:
    """A Prefect server that outlives the runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(home / "prefect"))
        with prefect_server() as server:
            server.wait()
            yield server.address


def begun(events: Path, stage: str) -> bool:
    """Whether a stage has written an event; files may come and go meanwhile."""
    for folder, _, names in os.walk(events):
        for name in names:
            if name.endswith(".jsonl"):
                try:
                    text = Path(folder, name).read_text()
                except FileNotFoundError:
                    continue
                if f'"stage": "{stage}"' in text:
                    return True
    return False


def kill_during(
    project: Project, stage: str, seconds: float, *arguments: str, **extra: str
) -> None:
    """Start the run, SIGKILL it so long after ``stage`` began, and wait until nothing of it is
    left.
    """
    process = project.start("run", *arguments, **extra)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    events = project.root / ".rootstock"
    deadline = time.monotonic() + 120
    while not begun(events, stage):
        assert process.poll() is None, f"ended before {stage} began"
        assert time.monotonic() < deadline, f"{stage} never began"
        time.sleep(0.05)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 60
    while survivors := children_of(project):
        assert time.monotonic() < deadline, (
            f"{survivors} outlived the run that was killed in {stage}"
        )
        time.sleep(0.1)
    shutil.rmtree(events / "events", ignore_errors=True)
