"""Redundancy losses: views agree while embeddings keep their variance and their dimensions
differ.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize, relu

from stages.core.compute import full_precision, wide
from stages.core.training.distributed import gather

KNOTS, REACH = 17, 5.0
"""Points at which characteristic functions are compared, and how far from zero the last is."""


@full_precision
def barlow_twins(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Make the cross-correlation of two views' embeddings ``(N, D)`` the identity.

    ``weight`` is that of the off-diagonal terms.
    Paper: Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021.
    """
    correlation = cross_correlation(gather(wide(first)), gather(wide(second)))
    diagonal = correlation.diagonal()
    on = (1 - diagonal).square().sum()
    off = correlation.square().sum() - diagonal.square().sum()
    return on + weight * off


def cross_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return the ``(D, D)`` correlation over the batch of two ``(N, D)``."""
    return standardise(first).T @ standardise(second) / len(first)


def standardise(z: Tensor) -> Tensor:
    """Return each dimension of ``(N, D)`` with mean 0 and variance 1 over the batch."""
    return (z - z.mean(dim=0)) / (z.var(dim=0, correction=0) + 1e-5).sqrt()


def neighbour(rows: Tensor) -> Tensor:
    """Return ``(N, …)`` with rows 0 and 1, 2 and 3, … swapped; a last odd row stays."""
    place = torch.arange(len(rows), device=rows.device)
    return rows[(place ^ 1).clamp(max=len(rows) - 1)]


@full_precision
def mixed_correlation_gap(first: Tensor, second: Tensor, mixed: Tensor, share: Tensor) -> Tensor:
    """Squared gap between correlations of mixed images' embeddings and of mixed embeddings.

    Args:
        first: ``(N, D)`` of one view; ``second``: of the other.
        mixed: of images that are ``share`` ``(N, 1)`` the first view and otherwise the second view
            of the :func:`neighbour`.

    Paper: Guarding Barlow Twins Against Overfitting with Mixed Samples, 2023.
    """
    part = gather(wide(share))
    swapped = gather(neighbour(wide(second)))
    first, second, mixed = (standardise(gather(wide(z))) for z in (first, second, mixed))
    swapped = standardise(swapped)
    expected = part * first + (1 - part) * swapped
    gap = sum(
        (mixed.T @ view / len(mixed) - expected.T @ view / len(mixed)).square().sum()
        for view in (first, second)
    )
    return torch.as_tensor(gap)


@full_precision
def tico(
    first: Tensor, second: Tensor, covariance: Tensor, memory: float, contrast: float
) -> tuple[Tensor, Tensor]:
    """Views agree and avoid directions in which embeddings have been large so far.

    Args:
        first: ``(N, D)``; ``second``: ``(N, D)``, the target, without gradient.
        covariance: ``(D, D)`` running second moment before this batch.
        memory: fraction of it that stays; ``contrast``: weight of the second term.

    Returns:
        The loss and the new second moment.

    Paper: TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual
    Representation Learning, 2022.
    """
    one = gather(normalize(wide(first), dim=1))
    other = gather(normalize(wide(second.detach()), dim=1))
    now = memory * covariance.to(one) + (1 - memory) * one.T @ one / len(one)
    agreement = 1 - (one * other).sum(dim=1).mean()
    return agreement + contrast * ((one @ now) * one).sum(dim=1).mean(), now.detach()


@full_precision
def whitened_mse(first: Tensor, second: Tensor, ridge: float) -> Tensor:
    """Mean 2 − 2·cos of the two views' embeddings ``(N, D)`` after both were whitened together.

    Paper: Whitening for Self-Supervised Representation Learning, 2020.
    """
    both = torch.cat([gather(wide(first)), gather(wide(second))])
    one, other = whiten(both, ridge).chunk(2)
    return (2 - 2 * (normalize(one, dim=1) * normalize(other, dim=1)).sum(dim=1)).mean()


@full_precision
def vicreg(
    first: Tensor, second: Tensor, invariance: float, variance: float, covariance: float
) -> Tensor:
    """Views agree, every dimension keeps a standard deviation of 1, dimensions are uncorrelated.

    ``(N, D)`` each. Paper: VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning, 2021.
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


def whiten(z: Tensor, ridge: float = 1e-3) -> Tensor:
    """Return ``(N, D)`` with the identity as covariance (Cholesky); ``ridge`` keeps it solvable.

    Paper: Whitening for Self-Supervised Representation Learning, 2020.
    """
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    factor = torch.linalg.cholesky((1 - ridge) * covariance + ridge * eye)
    whitened: Tensor = torch.linalg.solve_triangular(factor, centred.T, upper=False).T
    return whitened


@full_precision
def sigreg(z: Tensor, directions: Tensor) -> Tensor:
    """Epps-Pulley distance of ``(N, D)`` from an isotropic Gaussian, along ``(D, M)`` directions.

    The squared gap between the empirical and the Gaussian characteristic function, integrated with
    a Gaussian weight, times N, averaged over directions.

    Paper: LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics, 2025.
    """
    z = gather(wide(z))
    knots = torch.linspace(-REACH, REACH, KNOTS, dtype=z.dtype, device=z.device)
    angles = (z @ directions.to(z)).unsqueeze(2) * knots
    gaussian = (-knots.square() / 2).exp()
    gap = (angles.cos().mean(dim=0) - gaussian).square() + angles.sin().mean(dim=0).square()
    distance: Tensor = len(z) * torch.trapezoid(gap * gaussian, knots, dim=1).mean()
    return distance


@full_precision
def sliced_gaussian(z: Tensor, directions: Tensor) -> Tensor:
    """Squared sliced Wasserstein distance of ``(N, D)``, standardised, from a Gaussian.

    Scale is left out on purpose; ``directions`` ``(D, M)``.
    Paper: VISReg: Variance-Invariance-Sketching Regularization for JEPA training, 2026.
    """
    z = standardise(gather(wide(z)))
    count = torch.arange(len(z), dtype=z.dtype, device=z.device)
    quantiles = torch.special.ndtri((count + 0.5) / len(z)).unsqueeze(1)
    gap: Tensor = (z @ directions.to(z)).sort(dim=0).values - quantiles
    return gap.square().mean()


@full_precision
def scale_gap(z: Tensor) -> Tensor:
    """Mean squared gap of the standard deviations of ``(N, D)`` from 1; steep even at collapse.

    Paper: VISReg: Variance-Invariance-Sketching Regularization for JEPA training, 2026.
    """
    return (1 - (gather(wide(z)).var(dim=0, correction=0) + 1e-8).sqrt()).square().mean()
