"""Forecast of a run's duration: work counted from the parameters, speed measured on this machine.

Only what a person reads depends on it; no result does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from stages.core import compute
from stages.core.budget import Budget
from stages.core.progress import clock
from stages.core.transfer.supervised import resolve_batch, resolve_steps

PASSES = 3
"""Passes that training on an image costs: forward, and twice as much backward."""
MEASURED = 1.5
"""Seconds of training from which the speed is measured."""
BATCH = 64
OVERHEAD = 1.25
"""Time of a training step over that of its network: views, optimiser, probes, checkpoints."""
LADDER = (1, 5, 20)
"""The default of ``evaluate.labels_per_class``, on which pretraining must not depend."""
HALF_LENGTH = 3
"""Trainings from labels alone at half length: two augmentations and a second rate."""


def count_passes(
    budget: Budget,
    epochs: int,
    images: int,
    labels: Sequence[int],
    per_class: Sequence[int] = LADDER,
    views: int = 2,
) -> dict[str, int]:
    """Return the forward passes of single images that each training stage needs.

    Args:
        images: number of images to pretrain on.
        labels: number of labelled training images of each class.
        per_class: labels a class at the steps of the ladder.
    """
    every = _supervised(sum(labels), budget)
    ladder = 0
    for count in per_class:
        few = sum(min(count, own) for own in labels)
        if few < sum(labels):
            ladder += 2 * budget.draws * _supervised(few, budget)
    return {
        "pretrain": PASSES * views * epochs * images,
        "finetune": int(every * (HALF_LENGTH / 2 + 1 + budget.doublings + len(budget.rates))),
        "evaluate": ladder + every + 4 * images,
    }


def measure_speed(network: nn.Module, channels: int, size: int) -> float:
    """Return the forward passes of single images a second that training reaches here."""
    device = compute.device()
    inputs = torch.zeros(BATCH, channels, size, size, device=device)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    network = network.to(device).train()
    network(inputs).sum().backward()  # the first one allocates
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < MEASURED:
        network(inputs).float().sum().backward()
        done += 1
        if device.type == "cuda":
            torch.cuda.synchronize()
    return PASSES * BATCH * done / (time.perf_counter() - began)


def sentence(passes: Mapping[str, int], speed: float) -> str:
    """Return the time from here to the end of the run, stage by stage."""
    seconds = {stage: OVERHEAD * count / speed for stage, count in passes.items()}
    parts = ", ".join(f"{stage} {clock(value)}" for stage, value in seconds.items())
    return f"about {clock(sum(seconds.values()))} to the end of the run on this machine: {parts}"


def _supervised(labels: int, budget: Budget) -> int:
    """Return the passes of one training from so many labels."""
    if not labels:
        return 0
    batch = resolve_batch("auto", labels)
    return PASSES * batch * resolve_steps(labels, batch, budget.passes, budget.steps)
