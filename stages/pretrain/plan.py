"""From parameters and data to resolved settings: what ``auto`` stands for."""

from __future__ import annotations

import math

from stages.core.errors import ConfigError
from stages.core.params import Pretrain
from stages.core.training.loop import Recipe

LARGEST_BATCH, SMALLEST_BATCH = 512, 16
BATCHES_PER_EPOCH = 8
RATES = {"adamw": 0.002, "lars": 0.6}
"""Peak learning rate at a batch of 256; AdamW's grows with the root of the batch, that of LARS with the batch."""


def batch_size(params: Pretrain, images: int, processes: int) -> int:
    """A power of two that gives at least eight batches an epoch, or what is asked for; whole for processes and parts.

    Raises:
        ConfigError: fewer images than processes × accumulation × 2.
    """
    parts = processes * params.accumulate
    if params.batch_size == "auto":
        power = int(math.log2(max(1, images // BATCHES_PER_EPOCH)))
        wanted = min(LARGEST_BATCH, max(SMALLEST_BATCH, 1 << power))
    else:
        wanted = params.batch_size
    size = min(wanted, images) // parts * parts
    if size < 2 * parts:
        raise ConfigError(
            f"pretrain: a batch of {min(wanted, images)} images cannot be split into {parts} parts of two or more; "
            "give more images, a larger pretrain.batch_size, or fewer pretrain.accumulate × launch.processes"
        )
    return size


def learning_rate(params: Pretrain, batch: int) -> float:
    """The optimiser's usual peak, scaled to the batch, or what is asked for."""
    if params.learning_rate != "auto":
        return params.learning_rate
    scale = batch / 256
    return float(f"{RATES[params.optimizer] * (math.sqrt(scale) if params.optimizer == 'adamw' else scale):.3g}")


def recipe(params: Pretrain, seed: int, batch: int, steps_per_epoch: int, label: str) -> Recipe:
    """Everything the loop needs."""
    steps = params.epochs * steps_per_epoch
    return Recipe(
        stage=label,
        seed=seed,
        steps=steps,
        learning_rate=learning_rate(params, batch),
        weight_decay=params.weight_decay,
        optimizer=params.optimizer,
        schedule=params.schedule,
        warmup=params.warmup,
        clip=params.clip,
        precision=params.precision,
        accumulate=params.accumulate,
        checkpoint_every=params.checkpoint_every,
        log_every=max(1, min(steps_per_epoch, steps // 20)),
        probe_every=min(params.probe_every, params.epochs) * steps_per_epoch,
        compile=params.compile,
    )
