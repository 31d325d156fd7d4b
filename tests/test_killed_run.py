"""Whatever happens on the way, the same outputs come out."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

from tests.project import QUICKLY, Project, checkout

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


def test_killed_during_every_stage_in_another_directory_it_ends_with_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    """Two promises in one: nothing depends on where the project lies, nor on having been killed."""
    project, draw = checkout(tmp_path), random.Random(0)
    arguments = QUICKLY
    for stage in STAGES:
        process = project.start("run", *arguments)
        arguments = []
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        events = project.root / ".rootstock"
        deadline = time.monotonic() + 120
        while not any(f'"stage": "{stage}"' in file.read_text() for file in events.rglob("*.jsonl")):
            assert process.poll() is None, f"ended before {stage} began"
            assert time.monotonic() < deadline, f"{stage} never began"
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 60
        while survivors := children_of(project):
            assert time.monotonic() < deadline, f"{survivors} outlived the run that was killed in {stage}"
            time.sleep(0.1)
        shutil.rmtree(events / "events", ignore_errors=True)
    project.rootstock("run")
    assert project.outputs() == finished.outputs()
    assert {path.split("/")[0] for path in project.outputs()} == {"data", "metrics", "models", "reports"}
    assert len(project.champion()) == 1
