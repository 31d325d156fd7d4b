"""Objectives as pure functions of embeddings. Inputs are what one process holds; across processes
they are gathered first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, normalize, relu

from stages.core.compute import device
from stages.core.training.distributed import gather

P = ParamSpec("P")


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Sums over a batch lose too much in bf16: autocast ends where the loss begins."""

    @wraps(loss)
    def outside_autocast(*arguments: P.args, **named: P.kwargs) -> Tensor:
        with torch.autocast(device().type, enabled=False):
            return loss(*arguments, **named)

    return outside_autocast


def wide(z: Tensor) -> Tensor:
    """fp32, or fp64 where that is what came in."""
    return z if z.dtype == torch.float64 else z.float()


@full_precision
def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy: find the other view of the image among all
    others of the batch.

    Args:
        first: ``(N, D)`` embeddings of one view, any length; ``second``: of the other, in the same
        order. temperature: of the softmax over cosine similarities.

    Paper: A Simple Framework for Contrastive Learning of Visual Representations, 2020.
    """
    first, second = gather(normalize(wide(first), dim=1)), gather(normalize(wide(second), dim=1))
    both = torch.cat([first, second])
    similarity = both @ both.T / temperature
    similarity = similarity.masked_fill(
        torch.eye(len(both), dtype=torch.bool, device=both.device), float("-inf")
    )
    n = len(first)
    partner = (torch.arange(2 * n, device=both.device) + n) % (2 * n)
    return cross_entropy(similarity, partner)


@full_precision
def instance_cross_entropy(
    features: Tensor, prototypes: Tensor, index: Tensor, temperature: float
) -> Tensor:
    """Every image is its own class, told by the angle between features and the image's own vector.

    Args:
        features: ``(N, D)``; ``prototypes``: ``(images, D)``; any length.
        index: ``(N,)`` which image each row shows.
        temperature: of the softmax over cosine similarities.

    Paper: Discriminative Unsupervised Feature Learning with Exemplar Convolutional Neural Networks,
        2014.
    """
    logits = normalize(wide(features), dim=1) @ normalize(wide(prototypes), dim=1).T
    return cross_entropy(logits / temperature, index)


@full_precision
def barlow_twins(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Make the cross-correlation of two views' embeddings ``(N, D)`` the identity; ``weight`` is
    that of off-diagonal terms.

    Paper: Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021.
    """
    first, second = standardise(gather(wide(first))), standardise(gather(wide(second)))
    correlation = first.T @ second / len(first)
    diagonal = correlation.diagonal()
    on = (1 - diagonal).square().sum()
    off = correlation.square().sum() - diagonal.square().sum()
    return on + weight * off


def standardise(z: Tensor) -> Tensor:
    """Each dimension of ``(N, D)`` with mean 0 and variance 1 over the batch."""
    return (z - z.mean(dim=0)) / (z.var(dim=0, correction=0) + 1e-5).sqrt()


@full_precision
def vicreg(
    first: Tensor, second: Tensor, invariance: float, variance: float, covariance: float
) -> Tensor:
    """Views agree, every dimension keeps a standard deviation of 1, dimensions are uncorrelated;
    ``(N, D)`` each.

    Paper: VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, 2021.
    """
    first, second = gather(wide(first)), gather(wide(second))
    agreement = mse_loss(first, second)
    spread = (_hinge(first) + _hinge(second)) / 2
    redundancy = _off_diagonal(first) + _off_diagonal(second)
    return invariance * agreement + variance * spread + covariance * redundancy


def _hinge(z: Tensor) -> Tensor:
    return relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean()


def _off_diagonal(z: Tensor) -> Tensor:
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


@full_precision
def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of 2 − 2·cos between rows of ``(N, D)``; no gradient reaches the target.

    Papers: Bootstrap your own latent: A new approach to self-supervised Learning, 2020; Exploring
    Simple Siamese Representation Learning, 2020.
    """
    similarity = (normalize(wide(prediction), dim=1) * normalize(wide(target.detach()), dim=1)).sum(
        dim=1
    )
    return (2 - 2 * similarity).mean()
