"""Tiles and turns: what pretext tasks do to images, one decision for each image."""

from __future__ import annotations

import torch
from torch import Tensor


def turned(images: Tensor, quarters: Tensor) -> Tensor:
    """Return ``(N, C, S, S)`` turned by ``quarters`` ``(N,)`` int64, 0 to 3, quarter turns."""
    every = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
    return every[quarters, torch.arange(len(images), device=images.device)]


def tiles(images: Tensor, side: int) -> Tensor:
    """Cut ``(N, C, H, W)`` into ``(N, side², C, H // side, W // side)``, row by row."""
    height, width = images.shape[2] // side, images.shape[3] // side
    n, channels = images.shape[:2]
    cut = images[:, :, : height * side, : width * side]
    cut = cut.reshape(n, channels, side, height, side, width)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def untiled(cut: Tensor, side: int) -> Tensor:
    """Return the images that :func:`tiles` cut."""
    n, _, channels, height, width = cut.shape
    grid = cut.reshape(n, side, side, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(n, channels, side * height, side * width)
