"""Dense losses: places of one view and their counterparts in another."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, normalize

from stages.core.compute import full_precision, wide
from stages.core.training.distributed import gather, total, world


@torch.no_grad()
def matched(first: Tensor, second: Tensor) -> Tensor:
    """Return for each place of ``(N, P, D)`` the most similar place ``(N, P)`` of the other view.

    Paper: Dense Contrastive Learning for Self-Supervised Visual Pre-Training, 2020.
    """
    similarity = normalize(wide(first), dim=2) @ normalize(wide(second), dim=2).transpose(1, 2)
    return similarity.argmax(dim=2)


@full_precision
def aligned_cross_entropy(
    logits: Tensor, targets: Tensor, partner: Tensor, inside: Tensor, temperature: float
) -> Tensor:
    """Mean cross entropy of places against the assignment of the same place in another view.

    Args:
        logits: ``(N, P, K)`` of one view; ``targets``: ``(N, P, K)`` probabilities of the other.
        partner: ``(N, P)`` the place of the other view; ``inside``: ``(N, P)`` where there is one.

    Paper: Self-Supervised Visual Representation Learning with Semantic Grouping, 2022.
    """
    partner, inside = partner.to(logits.device), inside.to(logits.device)
    rows = partner.unsqueeze(2).expand(-1, -1, targets.shape[2])
    goal = wide(targets.detach()).gather(1, rows)
    entropy = -(goal * log_softmax(wide(logits) / temperature, dim=2)).sum(dim=2)
    weight = inside.to(entropy)
    return (entropy * weight).sum() * world() / total(weight.sum()).clamp(min=1)


@full_precision
def slots(places: Tensor, assignment: Tensor) -> Tensor:
    """Return ``(N, K, D)`` unit means of places ``(N, P, D)``, weighted by ``(N, P, K)``."""
    return normalize(wide(assignment).transpose(1, 2) @ wide(places), dim=2)


def present(assignment: Tensor) -> Tensor:
    """Return ``(N, K)`` bool: slots that win at least one place of ``(N, P, K)``."""
    winner = assignment.argmax(dim=2)
    found = torch.zeros(len(winner), assignment.shape[2], dtype=torch.bool, device=winner.device)
    return found.scatter(1, winner, True)


@full_precision
def slot_nce(
    queries: Tensor, keys: Tensor, asked: Tensor, there: Tensor, temperature: float
) -> Tensor:
    """Find the same slot of the same image among all slots of the batch that are present.

    Args:
        queries: ``(N, K, D)``; ``keys``: ``(N, K, D)``, no gradient reaches them.
        asked: ``(N, K)`` bool, slots present in the queries' view; ``there``: in the keys' view.

    Paper: Self-Supervised Visual Representation Learning with Semantic Grouping, 2022.
    """
    rows = gather(normalize(wide(queries), dim=2)).flatten(0, 1)
    others = gather(normalize(wide(keys.detach()), dim=2)).flatten(0, 1)
    known = gather(there).flatten()
    counted = gather(asked).flatten() & known
    logits = (rows @ others.T / temperature).masked_fill(~known.unsqueeze(0), -1e9)
    target = torch.arange(len(rows), device=rows.device)
    each = cross_entropy(logits, target, reduction="none")
    return (each * counted).sum() / counted.sum().clamp(min=1)
