"""Wavelet scattering: moduli of wavelet responses, and of the wavelet responses of those, averaged
over parts of the image.

Invariant Scattering Convolution Networks (2012). The wavelets are complex Morlet filters of 7 x 7
pixels; a coarser scale is the same filter on an image halved by a binomial blur, so an image of 32
pixels costs about a million multiplications.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 32
ORIENTATIONS = 8
_SCALES = 3
_FLOOR = 1e-3
_OPPONENT = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, -0.5, 0.0], [0.25, 0.25, -0.5]])
"""Brightness, red against green, yellow against blue."""


def scatter(images: Tensor) -> Tensor:
    """Log scattering coefficients of uint8 images ``(n, C, S, S)``: float32 ``(n, D)``, D = 1536
    for colour at 32 pixels.

    Zeroth order: opponent colours on 8 x 8; first: brightness on 4 x 4 and colour on 2 x 2 parts;
    second: brightness on 2 x 2. Larger images are averaged down to 32 pixels.
    """
    pixels = images.to(torch.float32).div_(255)
    if pixels.shape[-1] > SIDE:
        pixels = F.adaptive_avg_pool2d(pixels, SIDE)
    if pixels.shape[1] == 3:
        pixels = torch.einsum("oc,nchw->nohw", _OPPONENT, pixels)
    bank = morlet()
    scales = min(_SCALES, max(1, int(math.log2(pixels.shape[-1])) - 2))
    orders = [_parts(pixels, 8)]
    bright, colour = pixels[:, :1], pixels[:, 1:]
    for scale in range(scales):
        moduli = modulus(bright, bank)
        orders.append(_log(_parts(moduli, 4)))
        if colour.shape[1]:
            orders.append(_log(_parts(modulus(colour, bank), 2)))
            colour = halve(colour)
        for _ in range(scale + 1, scales):
            moduli = halve(moduli)
            orders.append(_log(_parts(modulus(moduli, bank), 2)))
        bright = halve(bright)
    return torch.cat(orders, dim=1)


def morlet(
    size: int = 7, frequency: float = 0.75 * math.pi, width: float = 0.8, slant: float = 0.5
) -> Tensor:
    """Filters ``(2 * ORIENTATIONS, 1, size, size)``, real and imaginary part of each: zero mean,
    unit energy.
    """
    line = torch.arange(size, dtype=torch.float32) - size // 2
    down, right = torch.meshgrid(line, line, indexing="ij")
    filters = []
    for number in range(ORIENTATIONS):
        angle = math.pi * number / ORIENTATIONS
        along = right * math.cos(angle) + down * math.sin(angle)
        across = down * math.cos(angle) - right * math.sin(angle)
        envelope = torch.exp(-(along.square() + (slant * across).square()) / (2 * width**2))
        wave = torch.polar(torch.ones_like(along), frequency * along) * envelope
        wave = wave - envelope * (wave.sum() / envelope.sum())
        wave = wave / wave.abs().square().sum().sqrt()
        filters += [wave.real, wave.imag]
    return torch.stack(filters)[:, None]


def modulus(maps: Tensor, bank: Tensor) -> Tensor:
    """Absolute response of every map ``(n, c, s, s)`` to every filter: ``(n, c * ORIENTATIONS, s,
    s)``.
    """
    n, c, side, _ = maps.shape
    response = F.conv2d(_pad(maps.reshape(n * c, 1, side, side), bank.shape[-1] // 2), bank)
    energy = response[:, 0::2].square() + response[:, 1::2].square()
    return energy.add_(1e-8).sqrt_().reshape(n, -1, side, side)


def halve(maps: Tensor) -> Tensor:
    """Blur by (1 4 6 4 1) / 16 in both directions and take every second pixel."""
    n, c, side, _ = maps.shape
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = (line[:, None] * line)[None, None]
    small = F.conv2d(_pad(maps.reshape(n * c, 1, side, side), 2), kernel, stride=2)
    return small.reshape(n, c, *small.shape[-2:])


def _pad(maps: Tensor, by: int) -> Tensor:
    return F.pad(maps, (by,) * 4, mode="reflect" if maps.shape[-1] > by else "replicate")


def _parts(maps: Tensor, side: int) -> Tensor:
    return F.adaptive_avg_pool2d(maps, min(side, maps.shape[-1])).flatten(1)


def _log(values: Tensor) -> Tensor:
    return values.add(_FLOOR).log_()
