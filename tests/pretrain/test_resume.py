"""A run that is killed and started again ends as if nothing had happened, to the byte."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.random import numpy_generator
from tests.support.transfer import ROOT

SEEDS = range(5)
STOPPED_AT = 4


def killed_in(seed):
    return int(numpy_generator(seed, "kill").integers(1, 10))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """For each seed a run to the end, a run killed at a random step, and the killed one started
    again; two runs with two threads; one that is asked to stop, and goes on.
    """
    root, jobs = tmp_path_factory.mktemp("resume"), []
    for seed in SEEDS:
        jobs += [
            f"{root}/straight{seed}:{seed}:0:1",
            f"{root}/killed{seed}:{seed}:{killed_in(seed)}:1",
            f"{root}/killed{seed}:{seed}:0:1",
        ]
    jobs += [f"{root}/two:0:0:2", f"{root}/again:0:0:2"]
    jobs += [f"{root}/stopped:0:{-STOPPED_AT}:1", f"{root}/stopped:0:0:1"]
    for job in jobs:
        Path(job.partition(":")[0]).mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.pretrain.pretraining", *jobs]
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout
    return root, done.stdout


def told(output, job):
    """What a job printed, up to how it ended."""
    lines = output.splitlines()
    end = next(number for number, line in enumerate(lines) if line.startswith(f"{job} ended with"))
    begin = max((number for number in range(end) if " ended with " in lines[number]), default=-1)
    return lines[begin + 1 : end + 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_resume_after_sigkill_at_a_random_step_is_byte_identical(runs, seed):
    root, output = runs
    straight, killed = root / f"straight{seed}", root / f"killed{seed}"
    assert told(output, f"{killed}:{seed}:{killed_in(seed)}:1")[-1].endswith(
        f"ended with -{signal.SIGKILL.value}"
    )
    again = told(output, f"{killed}:{seed}:0:1")
    assert again[-1].endswith("ended with 0"), output
    assert ("goes on after step" in " ".join(again)) == (killed_in(seed) > 2)
    assert (killed / "out.json").read_bytes() == (straight / "out.json").read_bytes()


def test_two_threads_give_the_same_bytes_twice(runs):
    root, _ = runs
    assert (root / "two/out.json").read_bytes() == (root / "again/out.json").read_bytes()


def test_sigterm_leaves_a_checkpoint_of_the_step_it_came_in(runs):
    root, output = runs
    stopped = told(output, f"{root}/stopped:0:{-STOPPED_AT}:1")
    assert f"stopped at step {STOPPED_AT};" in " ".join(stopped)
    assert stopped[-1].endswith(f"ended with -{signal.SIGTERM.value}"), output
    assert f"goes on after step {STOPPED_AT} of" in " ".join(told(output, f"{root}/stopped:0:0:1"))
    assert (root / "stopped/out.json").read_bytes() == (root / "straight0/out.json").read_bytes()
    assert len(list((root / "stopped/.rootstock/resume").glob("*/[0-9]*"))) <= 2
