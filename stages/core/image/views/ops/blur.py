"""Gaussian blur of random width (A Simple Framework for Contrastive Learning of Visual
Representations, 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.views.draws import Drawn, OpSettings, Probability, Range, coin, uniform, where_on

SHARE = 0.1
"""Kernel width as a share of the image's side, made odd."""


class Settings(OpSettings):
    probability: Probability = 0.5
    sigma: Range = (0.1, 2.0)
    """Standard deviation in pixels."""


def sample(n: int, size: tuple[int, int], settings: Settings, generator: torch.Generator) -> Drawn:
    """``sigma`` ``(n,)``."""
    return {
        "on": coin(n, settings.probability, generator),
        "sigma": uniform(n, *settings.sigma, generator),
    }


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Blur the chosen images, mirrored at the border: two products with a band matrix each."""
    return where_on(
        images, drawn["on"], lambda some, rows: _blur(some, drawn["sigma"][rows].to(some.device))
    )


def kernel_size(side: int) -> int:
    """An odd number of taps, at least three."""
    return max(3, round(side * SHARE) // 2 * 2 + 1)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    across = torch.bmm(
        images.reshape(n, channels * height, width), _band(width, sigma).transpose(1, 2)
    )
    stacked = (
        across.view(n, channels, height, width).transpose(1, 2).reshape(n, height, channels * width)
    )
    return (
        torch.bmm(_band(height, sigma), stacked)
        .view(n, height, channels, width)
        .transpose(1, 2)
        .contiguous()
    )


def _band(side: int, sigma: Tensor) -> Tensor:
    """``(N, side, side)``: row i holds the kernel around pixel i, what leaves the image mirrored
    back in.
    """
    reach = kernel_size(side) // 2
    tap = torch.arange(-reach, reach + 1, device=sigma.device)
    kernel = torch.exp(-0.5 * (tap / sigma.unsqueeze(1)).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    band = torch.zeros(len(sigma), side, side, device=sigma.device)
    rows = torch.arange(side, device=sigma.device)
    for number in range(len(tap)):
        columns = (rows + number - reach).abs()
        columns = torch.where(columns >= side, 2 * (side - 1) - columns, columns)
        band[:, rows, columns] += kernel[:, number : number + 1]
    return band
