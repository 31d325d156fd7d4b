"""Regression losses: predict what another network, another view or the data show."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, normalize, smooth_l1_loss

from stages.core.compute import full_precision, wide


@full_precision
def normalised_mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of 2 − 2·cos between rows of ``(N, D)``; no gradient reaches the target.

    Papers: Bootstrap your own latent: A new approach to self-supervised Learning, 2020; Exploring
    Simple Siamese Representation Learning, 2020.
    """
    return squared_chord(prediction, target.detach())


@full_precision
def squared_chord(first: Tensor, second: Tensor) -> Tensor:
    """Mean of 2 − 2·cos between rows of ``(N, D)``; gradients reach both."""
    similarity = normalize(wide(first), dim=1) * normalize(wide(second), dim=1)
    return (2 - 2 * similarity.sum(dim=1)).mean()


@full_precision
def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of two tensors of one shape; no gradient reaches the target."""
    return (wide(prediction) - wide(target.detach())).square().mean()


@full_precision
def centre_gap(embeddings: Sequence[Tensor], whole: int) -> Tensor:
    """Mean squared distance of each view's ``(N, D)`` from the mean of the first ``whole`` views.

    Gradients reach the mean, too. Paper: LeJEPA: Provable and Scalable Self-Supervised Learning
    Without the Heuristics, 2025.
    """
    every = torch.stack([wide(z) for z in embeddings])
    return (every - every[:whole].mean(dim=0)).square().mean()


@full_precision
def masked_error(prediction: Tensor, target: Tensor, hidden: Tensor, power: int = 2) -> Tensor:
    """Mean error over hidden patches: squared (``power`` 2) or absolute (1).

    Every image counts alike, whatever the number of its hidden patches.

    Args:
        prediction: ``(N, P, D)``; ``target``: the same shape, no gradient reaches it.
        hidden: ``(N, P)`` bool.
    """
    gap = (wide(prediction) - wide(target.detach())).abs().pow(power).mean(dim=2)
    weight = hidden.to(gap)
    return ((gap * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)).mean()


@full_precision
def feature_regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 between predicted and layer-normalised target tokens ``(N, K, D)``.

    Paper: Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture,
        2023.
    """
    goal = layer_norm(wide(target.detach()), target.shape[-1:])
    return smooth_l1_loss(wide(prediction), goal)


def patchify(images: Tensor, grid: int) -> Tensor:
    """Return ``(N, C, H, W)`` as ``(N, grid², C·h·w)``, row by row."""
    n, channels, height, width = images.shape
    h, w = height // grid, width // grid
    blocks = images.reshape(n, channels, grid, h, grid, w).permute(0, 2, 4, 1, 3, 5)
    return blocks.reshape(n, grid * grid, channels * h * w)


def normalise_patches(patches: Tensor) -> Tensor:
    """Return each patch of ``(N, P, D)`` with mean 0 and variance 1; flat patches become 0."""
    mean, variance = patches.mean(dim=2, keepdim=True), patches.var(dim=2, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()
