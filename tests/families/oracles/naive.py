"""What the oracles share: loops over Python floats, and the networks' outputs as lists of
vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

Vector = np.ndarray
Oracle = Callable[..., float]
ORACLES: dict[str, Oracle] = {}
"""Objective → its loss for a module and views."""


def oracle(*names: str) -> Callable[[Oracle], Oracle]:
    """Register a naive loss for some objectives."""

    def register(function: Oracle) -> Oracle:
        ORACLES.update(dict.fromkeys(names, function))
        return function

    return register


def vectors(z: torch.Tensor) -> list[Vector]:
    """Rows as numpy vectors."""
    return list(z.detach().double().numpy())


def cosine(a: Vector, b: Vector) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / (length(a) * length(b))


def length(a: Vector) -> float:
    return math.sqrt(sum(float(x) ** 2 for x in a))


def unit(a: Vector) -> Vector:
    return np.array([float(x) / length(a) for x in a])


def softmax(scores: Sequence[float]) -> list[float]:
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def log_softmax(scores: Sequence[float]) -> list[float]:
    top = max(scores)
    total = math.log(sum(math.exp(score - top) for score in scores)) + top
    return [score - total for score in scores]


def pick(scores: Sequence[float], target: int) -> float:
    """Cross entropy with one right answer."""
    return -log_softmax(scores)[target]


def soft(scores: Sequence[float], target: Sequence[float]) -> float:
    """Cross entropy with a distribution."""
    return -sum(t * s for t, s in zip(target, log_softmax(scores), strict=True))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def embeddings(module, views) -> tuple[list[Vector], list[Vector]]:
    """The projector's output for both views, which pass the network together."""
    z = vectors(module.projector(module.backbone(views.images)))
    return z[: len(z) // 2], z[len(z) // 2 :]


def taught(module, views) -> tuple[list[Vector], list[Vector]]:
    """The teacher's output for both views."""
    with torch.no_grad():
        z = vectors(module.teacher(views.images))
    return z[: len(z) // 2], z[len(z) // 2 :]


def predictions(module, views) -> tuple[list[Vector], list[Vector]]:
    """The predictor's output for both views."""
    z = vectors(module.predictor(module.projector(module.backbone(views.images))))
    return z[: len(z) // 2], z[len(z) // 2 :]
