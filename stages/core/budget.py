"""Training budgets: how much work ``quick``, ``standard`` and ``thorough`` stand for, counted and
never timed.

A budget is a number of floating-point operations, not of seconds, so that results stay functions of
the parameters: the same budget buys the same steps on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

SIGNS = 24
"""Side in pixels up to which images are signs, which train in seconds."""


@dataclass(frozen=True)
class Budget:
    """Work that a run may spend.

    Attributes:
        name: ``quick``, ``standard`` or ``thorough``. pretrain: operations of all forward passes of
        pretraining, in 10¹² (a backward pass counts as two forward ones and
            comes on top).
        side: largest side of the pixel store that ``auto`` chooses.
        passes: passes over the labelled images in supervised training.
        steps: fewest steps of supervised training, however few the labels.
        doublings: how often ``finetune`` may double the steps in search of the plateau.
        rates: learning rates tried for a pretrained network that is trained whole.
        draws: subsets of labels behind each figure of a network that is trained.
        minutes: of a whole run on two cores for 2,000 images of 96 px, roughly.
    """

    name: str
    pretrain: float
    side: int
    passes: int
    steps: int
    doublings: int
    rates: tuple[float, ...]
    draws: int
    minutes: int


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget("quick", 0.6, 64, 40, 400, 0, (2e-3,), 1, 4),
        Budget("standard", 8.0, 64, 60, 600, 1, (1e-3, 4e-3), 2, 20),
        Budget("thorough", 60.0, 96, 60, 600, 2, (5e-4, 1e-3, 2e-3, 4e-3), 3, 90),
    )
}


def resolve_budget(name: str, size: int = SIGNS) -> Budget:
    """Return the budget called ``name``.

    ``auto`` is ``quick`` where images are stored at no more than 24 pixels a side, as the embedded
    digits are, and ``standard`` everywhere else.
    """
    if name == "auto":
        name = "quick" if size <= SIGNS else "standard"
    return BUDGETS[name]


def operations(network: object, channels: int, size: int) -> float:
    """Floating-point operations of one forward pass of one image, counted by torch."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    assert isinstance(network, nn.Module)
    was_training = network.training
    device = next(network.parameters()).device
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(torch.zeros(1, channels, size, size, device=device))
    finally:
        network.train(was_training)
    return float(counter.get_total_flops())
