"""Budgets: an amount of work by name, counted in operations and the same on every machine."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from stages.core.budget import BUDGETS, operations, resolve_budget


@pytest.mark.parametrize(
    ("name", "size", "resolved"),
    [
        ("auto", 16, "quick"),
        ("auto", 24, "quick"),
        ("auto", 32, "standard"),
        ("auto", 224, "standard"),
        ("thorough", 16, "thorough"),
        ("quick", 224, "quick"),
    ],
)
def test_auto_is_quick_for_the_digits_and_standard_for_everything_else(
    name: str, size: int, resolved: str
) -> None:
    assert resolve_budget(name, size).name == resolved


def test_a_larger_budget_buys_no_less_of_anything() -> None:
    steps = [BUDGETS[name] for name in ("quick", "standard", "thorough")]
    for smaller, larger in pairwise(steps):
        assert smaller.minutes < larger.minutes
        assert smaller.pretrain < larger.pretrain
        for own in ("side", "passes", "steps", "doublings", "draws"):
            assert getattr(smaller, own) <= getattr(larger, own)
        assert len(smaller.rates) <= len(larger.rates)


def test_operations_are_counted_as_by_hand_and_leave_the_network_as_it_was() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5 * 8 * 8, 7)
    ).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    by_hand = 2 * (8 * 8 * 5 * 3 * 3 * 3 + 5 * 8 * 8 * 7)
    assert operations(network, 3, 8) == by_hand
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
