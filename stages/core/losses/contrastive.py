"""Contrastive losses: a positive must be found among other images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, normalize

from stages.core.compute import device, full_precision, wide
from stages.core.training.distributed import gather


def unit(z: Tensor) -> Tensor:
    """Return rows of ``(N, D)`` at length 1."""
    return normalize(wide(z), dim=1)


@full_precision
def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy: find the other view of the image in the batch.

    Args:
        first: ``(N, D)`` embeddings of one view, of any length.
        second: those of the other view, in the same order.
        temperature: of the softmax over cosine similarities.

    Paper: A Simple Framework for Contrastive Learning of Visual Representations, 2020.
    """
    similarity = _pairs(first, second, temperature)
    return cross_entropy(similarity, _partners(similarity))


@full_precision
def decoupled(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent whose denominator leaves the positive out, so that small batches learn as well.

    Args and shapes are those of :func:`nt_xent`. Paper: Decoupled Contrastive Learning, 2021.
    """
    similarity = _pairs(first, second, temperature)
    partner = _partners(similarity).unsqueeze(1)
    positive = similarity.gather(1, partner).squeeze(1)
    negatives = similarity.scatter(1, partner, float("-inf"))
    return (negatives.logsumexp(dim=1) - positive).mean()


@full_precision
def supervised(first: Tensor, second: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """NT-Xent in which every image with the same label is a positive, averaged outside the log.

    Args:
        first: ``(N, D)`` embeddings of one view; ``second``: those of the other.
        labels: ``(N,)`` int64; -1 where there is none: then only the other view is a positive.
        temperature: of the softmax over cosine similarities.

    Paper: Supervised Contrastive Learning, 2020.
    """
    similarity = _pairs(first, second, temperature)
    known = gather(labels).repeat(2)
    alike = (known.unsqueeze(0) == known.unsqueeze(1)) & (known >= 0)
    alike = alike.scatter(1, _partners(similarity).unsqueeze(1), True)
    alike = alike & ~torch.eye(len(known), dtype=torch.bool, device=known.device)
    log_probability = log_softmax(similarity, dim=1).masked_fill(~alike, 0.0)
    return -(log_probability.sum(dim=1) / alike.sum(dim=1)).mean()


@full_precision
def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Find the key of each query among the keys of the batch; ``(N, D)`` each, of any length.

    Paper: Representation Learning with Contrastive Predictive Coding, 2018.
    """
    queries, keys = gather(unit(queries)), gather(unit(keys))
    target = torch.arange(len(queries), device=queries.device)
    return cross_entropy(queries @ keys.T / temperature, target)


@full_precision
def queue_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Find the key of each query, ``(N, D)`` each, among ``negatives`` ``(K, D)`` from a queue.

    Paper: Momentum Contrast for Unsupervised Visual Representation Learning, 2019.
    """
    logits = _against(queries, keys, negatives) / temperature
    return cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


@full_precision
def soft_queue_nce(
    queries: Tensor,
    keys: Tensor,
    negatives: Tensor,
    temperatures: tuple[float, float],
    neighbours: int,
) -> Tensor:
    """Queue contrast whose targets count rows of the queue as positives where the key is near them.

    Args:
        queries: ``(N, D)``; ``keys``: ``(N, D)``, without gradient; ``negatives``: ``(K, D)``.
        temperatures: of the prediction and, sharper, of the relations that become targets.
        neighbours: positives that a fully confident relation is worth.

    Paper: Adaptive Soft Contrastive Learning, 2022.
    """
    logits = _against(queries, keys, negatives) / temperatures[0]
    relation = (unit(keys.detach()) @ unit(negatives).T / temperatures[1]).softmax(dim=1)
    entropy = -(relation * (relation + 1e-12).log()).sum(dim=1, keepdim=True)
    size = torch.tensor(float(len(negatives)), dtype=logits.dtype, device=logits.device)
    confidence = 1 - entropy / size.log()
    soft = (confidence * neighbours * relation).clamp(max=1)
    target = torch.cat([torch.ones_like(soft[:, :1]), soft], dim=1)
    return cross_entropy(logits, target / target.sum(dim=1, keepdim=True))


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
    return cross_entropy(unit(features) @ unit(prototypes).T / temperature, index)


def prototype_cross_entropy(
    features: Tensor, prototypes: Tensor, index: Tensor, temperature: float
) -> Tensor:
    """The same with fixed prototypes ``(K, D)``, several images to each.

    Paper: Deep Clustering for Unsupervised Learning of Visual Features, 2018.
    """
    return instance_cross_entropy(features, prototypes.detach(), index, temperature)


@dataclass(frozen=True)
class Robust:
    """Loss and state of :func:`robust_contrast` for the ``index`` ``(N,)`` of the whole batch."""

    loss: Tensor
    index: Tensor
    level: Tensor
    slope: Tensor


def robust_contrast(
    first: Tensor,
    second: Tensor,
    index: Tensor,
    temperatures: Tensor,
    levels: Tensor,
    memory: float,
    radius: float,
) -> Robust:
    """Contrast with a temperature for each image, the dual variable of a robust loss.

    The loss of an image is τ·log u + τ·radius, u being the running mean of exp(h / τ) over its
    negatives, h the similarity to the negative less that to the positive. Its gradient takes u as
    given, as in the paper's stochastic estimator.

    Args:
        first: ``(N, D)`` of one view; ``second``: of the other; ``index`` ``(N,)``: which images.
        temperatures: ``(images,)`` τ; ``levels``: ``(images,)`` u so far, 0 where none.
        memory: fraction of u that stays; ``radius``: larger makes temperatures smaller.

    Returns:
        The loss; for the whole batch new levels u and slopes dloss/dτ, averaged over both views.

    Paper: Not All Semantics are Created Equal: Contrastive Self-supervised Learning with Automatic
    Temperature Individualization, 2023.
    """
    with torch.autocast(device().type, enabled=False):
        both = torch.cat([gather(unit(first)), gather(unit(second))])
        seen = gather(index)
        n = len(seen)
        cosine = both @ both.T
        partner = (torch.arange(2 * n, device=both.device) + n) % (2 * n)
        gap = cosine - cosine.gather(1, partner.unsqueeze(1))
        tau = temperatures.to(both)[seen].repeat(2).unsqueeze(1)
        place = torch.arange(2 * n, device=both.device)
        negative = (place % n).unsqueeze(0) != (place % n).unsqueeze(1)
        weight = ((gap / tau).exp() * negative).detach()
        now = (weight.sum(dim=1) / (2 * n - 2)).view(2, n).mean(dim=0)
        old = levels.to(both)[seen]
        level = torch.where(old > 0, memory * old + (1 - memory) * now, now)
        relative = weight / level.repeat(2).unsqueeze(1) / (2 * n - 2)
        pulled = (relative * gap).sum(dim=1)
        value = (tau.squeeze(1) * (level.repeat(2).log() + radius)).mean()
        slope = level.log() + radius - (pulled.detach() / tau.squeeze(1)).view(2, n).mean(dim=0)
        return Robust(value + pulled.mean() - pulled.mean().detach(), seen, level, slope)


@full_precision
def critic_scores(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return cosines of every pair of the batch over the temperature: ``(N, D)`` to ``(N, N)``."""
    return gather(unit(first)) @ gather(unit(second)).T / temperature


def mutual_information(scores: Tensor, bound: str) -> Tensor:
    """Return a lower bound on the mutual information of two views, in nats (``jsd``: up to a
    constant).

    Args:
        scores: ``(N, N)`` critic; row i and column i belong to the same image.
        bound: ``infonce``, ``nwj`` or ``jsd``.

    Paper: On Variational Bounds of Mutual Information, 2019; jsd: Learning deep representations by
    mutual information estimation and maximization, 2018.
    """
    count = len(scores)
    joint = scores.diagonal()
    apart = scores[~torch.eye(count, dtype=torch.bool, device=scores.device)]
    if bound == "infonce":
        chance = torch.tensor(float(count), dtype=scores.dtype, device=scores.device).log()
        return (joint - scores.logsumexp(dim=1)).mean() + chance
    if bound == "nwj":
        return joint.mean() - (apart - 1).exp().mean()
    softplus = torch.nn.functional.softplus
    return -softplus(-joint).mean() - softplus(apart).mean()


def _pairs(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    first, second = gather(unit(first)), gather(unit(second))
    both = torch.cat([first, second])
    similarity = both @ both.T / temperature
    itself = torch.eye(len(both), dtype=torch.bool, device=both.device)
    return similarity.masked_fill(itself, float("-inf"))


def _partners(similarity: Tensor) -> Tensor:
    n = len(similarity) // 2
    return (torch.arange(2 * n, device=similarity.device) + n) % (2 * n)


def _against(queries: Tensor, keys: Tensor, negatives: Tensor) -> Tensor:
    queries, keys = unit(queries), unit(keys.detach())
    positive = (queries * keys).sum(dim=1, keepdim=True)
    return torch.cat([positive, queries @ unit(negatives.detach()).T], dim=1)
