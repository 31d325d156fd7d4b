"""A run that is killed and started again ends as if nothing had happened, to the byte."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.core.random import numpy_generator
from tests.transfer_project import ROOT

SEEDS = range(5)


def program(*jobs):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.pretrain.pretraining", *jobs]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def killed_in(seed):
    return int(numpy_generator(seed, "kill").integers(1, 10))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """For each seed a run to the end, a run killed at a random step, and the killed one started again."""
    root, jobs = tmp_path_factory.mktemp("resume"), []
    for seed in SEEDS:
        for name in ("straight", "killed"):
            (root / f"{name}{seed}").mkdir()
        jobs += [
            f"{root}/straight{seed}:{seed}:0",
            f"{root}/killed{seed}:{seed}:{killed_in(seed)}",
            f"{root}/killed{seed}:{seed}:0",
        ]
    running = program(*jobs)
    output = running.communicate()[0]
    assert running.returncode == 0, output
    return root, output


@pytest.mark.parametrize("seed", SEEDS)
def test_resume_after_sigkill_at_a_random_step_is_byte_identical(runs, seed):
    root, output = runs
    straight, killed = root / f"straight{seed}", root / f"killed{seed}"
    assert f"{killed}:{seed}:{killed_in(seed)} ended with -{signal.SIGKILL.value}" in output
    assert f"{killed}:{seed}:0 ended with 0" in output, output
    again = output.partition(f"{killed}:{seed}:{killed_in(seed)} ended")[2].partition(f"{killed}:{seed}:0 ended")[0]
    assert ("goes on after step" in again) == (killed_in(seed) > 2)
    assert (killed / "out.json").read_bytes() == (straight / "out.json").read_bytes()


def test_sigterm_leaves_a_checkpoint_of_the_step_it_came_in(tmp_path):
    running = program(f"{tmp_path}:0:0")
    resume = tmp_path / ".rootstock/resume"
    deadline = time.monotonic() + 240
    while not list(resume.glob("*/[0-9]*")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.005)
    child = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(child[0]), signal.SIGTERM)
    output = running.communicate()[0]
    assert f"ended with -{signal.SIGTERM.value}" in output, output
    stopped = int(output.partition("stopped at step ")[2].partition(";")[0])
    kept = sorted(int(path.name) for path in resume.glob("*/[0-9]*"))
    assert kept[-1] == stopped
    assert len(kept) <= 2
