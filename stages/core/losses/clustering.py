"""Clustering losses: views agree on a distribution over prototypes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from stages.core.compute import full_precision, wide
from stages.core.training.distributed import gather


@full_precision
def soft_cross_entropy(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Mean cross entropy of ``(…, K)`` logits against target probabilities, without their
    gradient.
    """
    log_probability = log_softmax(wide(logits) / temperature, dim=-1)
    return -(wide(targets.detach()) * log_probability).sum(dim=-1).mean()


def across_views(
    students: Sequence[Tensor], targets: Sequence[Tensor], temperature: float
) -> Tensor:
    """Mean :func:`soft_cross_entropy` over every target view and every other student view.

    ``students[i]`` and ``targets[i]`` ``(N, K)`` are of the same view; students may be more.
    Papers: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, 2020;
    Emerging Properties in Self-Supervised Vision Transformers, 2021.
    """
    pairs = [
        soft_cross_entropy(student, target, temperature)
        for t, target in enumerate(targets)
        for s, student in enumerate(students)
        if s != t
    ]
    return torch.stack(pairs).mean()


@full_precision
def masked_cross_entropy(
    logits: Tensor, targets: Tensor, hidden: Tensor, temperature: float
) -> Tensor:
    """Cross entropy of ``(N, P, K)`` logits over hidden patches, every image counting alike.

    ``hidden`` ``(N, P)`` bool. Paper: iBOT: Image BERT Pre-Training with Online Tokenizer, 2021.
    """
    log_probability = log_softmax(wide(logits) / temperature, dim=-1)
    entropy = -(wide(targets.detach()) * log_probability).sum(dim=-1)
    weight = hidden.to(entropy)
    return ((entropy * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)).mean()


@full_precision
def negative_mean_entropy(probabilities: Tensor) -> Tensor:
    """Negative entropy, in nats, of the mean of ``(N, K)`` probabilities: low when all are used.

    Paper: Masked Siamese Networks for Label-Efficient Learning, 2022.
    """
    mean = gather(wide(probabilities)).mean(dim=0)
    return (mean * (mean + 1e-12).log()).sum()


@full_precision
def koleo(z: Tensor) -> Tensor:
    """Minus the mean log distance of rows of ``(N, D)``, at unit length, to their nearest
    neighbour.

    Paper: Spreading vectors for similarity search, 2018 (in DINOv2: Learning Robust Visual Features
    without Supervision, 2023).
    """
    rows = gather(normalize(wide(z), dim=1))
    similarity = (rows @ rows.T).detach()
    nearest = similarity.fill_diagonal_(-2.0).argmax(dim=1)
    apart: Tensor = (rows - rows[nearest]).norm(dim=1)
    return -(apart + 1e-8).log().mean()


def assignment_entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of the mean of ``(N, K)`` assignments as a fraction of the largest, log K.

    Near 0 every image is assigned to one prototype: collapse.
    """
    mean: Tensor = wide(probabilities.detach()).flatten(0, -2).mean(dim=0)
    entropy: Tensor = (mean * (mean + 1e-12).log()).sum()
    return entropy * (-1 / math.log(len(mean)))
