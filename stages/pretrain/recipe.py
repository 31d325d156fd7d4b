"""From parameters and data to resolved settings: what ``auto`` stands for."""

from __future__ import annotations

import math

from stages.core.errors import ConfigError
from stages.core.sections import Pretrain
from stages.core.training.loop import Recipe
from stages.core.views.plan import ViewPlan

LARGEST_BATCH, SMALLEST_BATCH = 512, 16
BATCHES_PER_EPOCH = 8
RATES = {"adamw": 0.004, "lars": 0.6}
"""Peak learning rate at a batch of 256; AdamW's grows with the root of the batch, that of LARS with
the batch.
"""


def batch_size(params: Pretrain, images: int, processes: int) -> int:
    """A power of two that gives at least eight batches an epoch, or what is asked for; whole for
    processes and parts.

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
            f"pretrain: a batch of {min(wanted, images)} images cannot be split into {parts} parts"
            " of two or more; give more images, a larger pretrain.batch_size, or fewer"
            " pretrain.accumulate × launch.processes"
        )
    return size


def learning_rate(params: Pretrain, batch: int) -> float:
    """The optimiser's usual peak, scaled to the batch, or what is asked for."""
    if params.learning_rate != "auto":
        return params.learning_rate
    scale = batch / 256
    return float(
        f"{RATES[params.optimizer] * (math.sqrt(scale) if params.optimizer == 'adamw' else scale):.3g}"  # noqa: E501
    )


def probe_cost(probed: int, views: ViewPlan) -> float:
    """What one probe costs, in images trained on. A count and not a timing, so that when to probe
    never depends on the machine.

    An image of a probe is one forward pass in fp32; an image trained on is three passes (backward
    is two) for each view, which bf16 makes up to twice as fast.
    """
    return 2 * probed / (3 * (views.whole + views.local * views.local_size**2))


def probe_epochs(params: Pretrain, images_per_epoch: int, cost: float) -> int:
    """Epochs between probes: as asked for, or more where they would take over ``probe_share`` of
    the work.
    """
    share = params.probe_share
    affordable = math.ceil(cost * (1 - share) / share / images_per_epoch)
    if affordable > params.probe_every:
        print(
            f"probes come every {affordable} epochs, not every {params.probe_every}, to take at"
            f" most {share:.0%} of the work"
        )
    return min(max(params.probe_every, affordable), _epochs(params))


def _epochs(params: Pretrain) -> int:
    assert isinstance(params.epochs, int), "auto is resolved before a recipe is made"
    return params.epochs


def recipe(
    params: Pretrain, seed: int, batch: int, steps_per_epoch: int, label: str, cost: float
) -> Recipe:
    """Everything the loop needs; ``cost`` is that of a probe (:func:`probe_cost`)."""
    steps = _epochs(params) * steps_per_epoch
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
        probe_every=probe_epochs(params, batch * steps_per_epoch, cost) * steps_per_epoch,
        compile=params.compile,
        rate_key="pretrain.learning_rate",
        shard_above=params.launch.shard_above,
    )
