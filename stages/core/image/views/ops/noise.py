"""Gaussian pixel noise. A draw is one number per image: the noise itself is a hash of it, the same
on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.core.views.draws import (
    Drawn,
    OpSettings,
    Probability,
    Range,
    coin,
    column,
    uniform,
    where_on,
)

PRIME, MULTIPLIERS, MASK = 0x9E3779B1, (0x85EBCA6B, 0xC2B2AE35), 0xFFFFFFFF


class Settings(OpSettings):
    probability: Probability = 0.5
    sigma: Range = (0.0, 0.1)
    """Standard deviation on pixels in 0…1."""


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """``sigma`` ``(n,)`` and ``key`` ``(n,)`` int64, what the noise is hashed from."""
    return {
        "on": coin(n, settings.probability, generator),
        "sigma": uniform(n, *settings.sigma, generator),
        "key": torch.randint(0, MASK, (n,), generator=generator),
    }


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Add the noise and clip to 0…1."""

    def add(some: Tensor, rows: Tensor) -> Tensor:
        noise = normal(drawn["key"][rows].to(some.device), some[0].numel()).view_as(some)
        return torch.addcmul(some, noise, column(drawn["sigma"], rows, some)).clamp_(0, 1)

    return where_on(images, drawn["on"], add)


def normal(keys: Tensor, count: int) -> Tensor:
    """``(N, count)`` standard normal numbers, a function of ``keys`` ``(N,)`` alone."""
    half = (count + 1) // 2
    place = torch.arange(2 * half, device=keys.device)
    bits = _mix(_mix(keys.unsqueeze(1)) + place * PRIME)
    uniforms = ((bits >> 8).float() + 0.5) * 2**-24
    radius = uniforms[:, :half].log().mul_(-2).sqrt_()
    angle = uniforms[:, half:] * (2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def _mix(bits: Tensor) -> Tensor:
    """Scramble 32 bits held in int64 (the finaliser of MurmurHash3)."""
    bits = bits & MASK
    bits = ((bits ^ (bits >> 16)) * MULTIPLIERS[0]) & MASK
    bits = ((bits ^ (bits >> 13)) * MULTIPLIERS[1]) & MASK
    return bits ^ (bits >> 16)
