"""Learning rate as a function of the step, between 0 and 1 times the peak."""

from __future__ import annotations

import math

from stages.core.errors import ConfigError

FLOOR = 0.1
"""The infinite schedule never falls below this share of the peak."""
SCHEDULES = ("cosine", "constant", "infinite")


def warmup_steps(warmup: float, steps: int) -> int:
    """``warmup`` below 1 is a share of all steps, else a number of steps."""
    return round(warmup * steps) if warmup < 1 else int(warmup)


def factor(schedule: str, step: int, steps: int, warmup: float) -> float:
    """What the peak learning rate is multiplied with at ``step`` (from 0) of ``steps``.

    ``cosine`` falls to zero at the end (SGDR: Stochastic Gradient Descent with Warm Restarts,
    2016); ``constant`` stays; ``infinite`` falls with the square root of the step to a floor and
    does not know the end, so that training on data that grew later goes on as one run would have
    (Scaling Vision Transformers, 2021).
    """
    if schedule == "infinite" and 0 < warmup < 1:
        raise ConfigError(
            f"pretrain.warmup is {warmup}: the infinite schedule has no end to take a fraction of;"
            " give steps (1 or more)"
        )
    rising = warmup_steps(warmup, steps)
    if step < rising:
        return (step + 1) / rising
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
    if schedule == "infinite":
        return max(FLOOR, math.sqrt(max(1, rising) / (step + 1)))
    return 1.0
