"""Cheap corruptions of stored images: what a classifier meets when a camera is noisy, out of focus
or badly lit.

After "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (2019),
scaled to small images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stages.core.random import generator

SEVERITIES = (1, 2, 3)
NOISE = (0.08, 0.16, 0.28)  # standard deviation, of pixels in 0…1
BLUR = (0.04, 0.07, 0.11)  # standard deviation, of the image's side
CONTRAST = (0.5, 0.3, 0.15)  # share of the contrast that is left


def noise(images: Tensor, severity: int, seed: int) -> Tensor:
    """Gaussian noise, its own for each image; (N, C, H, W) uint8 in and out, as all of these."""
    drawn = torch.randn(images.shape, generator=generator(seed, "corruption", "noise", severity))
    return _bytes(images.float() + 255 * NOISE[severity - 1] * drawn)


def blur(images: Tensor, severity: int, seed: int) -> Tensor:
    """Gaussian blur that grows with the image."""
    sigma = BLUR[severity - 1] * images.shape[-1]
    reach = max(1, round(2 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    flat = images.float().flatten(0, 1).unsqueeze(1)
    flat = torch.nn.functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = torch.nn.functional.conv2d(flat, kernel.view(1, 1, 1, -1))
    flat = torch.nn.functional.conv2d(flat, kernel.view(1, 1, -1, 1))
    return _bytes(flat.squeeze(1).view(images.shape))


def contrast(images: Tensor, severity: int, seed: int) -> Tensor:
    """Less contrast around each image's own mean."""
    pixels = images.float()
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return _bytes(mean + CONTRAST[severity - 1] * (pixels - mean))


CORRUPTIONS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "noise": noise,
    "blur": blur,
    "contrast": contrast,
}


def _bytes(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)
