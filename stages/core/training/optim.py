"""AdamW and LARS, with the usual parameters left out of weight decay; a step with a non-finite
gradient changes nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stages.core.training.sharding import everywhere

BETAS = (0.9, 0.95)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and filters decay; biases, norms, and what a network names in ``no_weight_decay`` do
    not.
    """
    exempt = {
        f"{prefix}.{name}" if prefix else name
        for prefix, child in module.named_modules()
        if callable(getattr(child, "no_weight_decay", None))
        for name in child.no_weight_decay()  # type: ignore[operator]
    }
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim <= 1 or name in exempt else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "adapt": True},
        {"params": plain, "weight_decay": 0.0, "adapt": False},
    ]
    return [group for group in groups if group["params"]]


def create_optimizer(
    name: str, module: nn.Module, weight_decay: float, betas: tuple[float, float] = BETAS
) -> torch.optim.Optimizer:
    """``adamw`` or ``lars``; the learning rate is set at every step."""
    groups = parameter_groups(module, weight_decay)
    if name == "lars":
        return LARS(groups)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling with momentum (Large Batch Training of Convolutional
    Networks, 2017).
    """

    found_inf: Tensor | None = None

    def __init__(
        self, groups: list[dict[str, Any]], momentum: float = 0.9, trust: float = 0.001
    ) -> None:
        super().__init__(
            groups,
            {"lr": 0.0, "momentum": momentum, "trust": trust, "weight_decay": 0.0, "adapt": True},
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update; exempt groups take plain momentum steps."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        gradient = parameter.grad
        assert gradient is not None
        if self.found_inf is not None:
            gradient = torch.where(self.found_inf > 0, 0.0, gradient)
        if group["adapt"]:
            gradient = gradient + group["weight_decay"] * parameter
            length, steepness = parameter.norm(), gradient.norm()
            ratio = torch.where(
                (length > 0) & (steepness > 0), group["trust"] * length / steepness, 1.0
            )
            gradient = gradient * ratio
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        update = state["momentum_buffer"] * group["momentum"] + gradient
        if self.found_inf is not None:
            update = torch.where(self.found_inf > 0, state["momentum_buffer"], update)
        moved = parameter - group["lr"] * update
        parameter.copy_(
            moved if self.found_inf is None else torch.where(self.found_inf > 0, parameter, moved)
        )
        state["momentum_buffer"].copy_(update)


def clip_gradients(module: nn.Module, largest: float) -> Tensor:
    """Scale gradients to a global norm of at most ``largest`` (0: leave them); returns the norm
    before, a scalar tensor.
    """
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norm = everywhere(torch.nn.utils.get_total_norm(gradients))
    if largest > 0:
        torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))
    return norm
