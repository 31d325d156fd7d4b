"""Heads: projectors, predictors, prototypes and decoders with weights drawn at an address."""

from __future__ import annotations

from itertools import pairwise

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.functional import normalize

from stages.core.compute import wide
from stages.core.image.backbones import seeded
from stages.core.random import address, generator


def mlp(sizes: tuple[int, ...], seed: int, *path: object, last_norm: bool = False) -> nn.Sequential:
    """Return linear, batch norm, ReLU, …, linear; ``sizes`` from input to output.

    Weights are a function of seed and path.
    """
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(pairwise(sizes)):
        last = number == len(sizes) - 2
        layers.append(linear(inner, outer, seed, *path, number, bias=last and not last_norm))
        if not last:
            layers += [nn.BatchNorm1d(outer), nn.ReLU(inplace=True)]
        elif last_norm:
            layers.append(nn.BatchNorm1d(outer, affine=False))
    return nn.Sequential(*layers)


def linear(inner: int, outer: int, seed: int, *path: object, bias: bool = True) -> nn.Linear:
    """Return a linear layer (Kaiming uniform, as torch's own; zero bias) drawn at an address."""
    layer = nn.Linear(inner, outer, bias=bias, device="meta").to_empty(device="cpu")
    bound = inner**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator(seed, "head", *path))
        if bias:
            layer.bias.zero_()
    return layer


def predictor(width: int, hidden: int, seed: int, *path: object) -> nn.Sequential:
    """Return the two-layer network that predicts one embedding ``(N, width)`` from another."""
    return mlp((width, hidden, width), seed, *path)


class Prototypes(nn.Module):
    """Learned directions; embeddings ``(…, width)`` in, cosine similarities ``(…, count)`` out."""

    def __init__(self, width: int, count: int, seed: int, *path: object) -> None:
        super().__init__()
        drawn = torch.randn(count, width, generator=generator(seed, "prototypes", *path))
        self.weight = nn.Parameter(normalize(drawn, dim=1))

    def forward(self, z: Tensor) -> Tensor:
        """Cosine similarity to every prototype, in full precision."""
        with torch.autocast(z.device.type, enabled=False):
            return normalize(wide(z), dim=-1) @ normalize(wide(self.weight), dim=1).T


def applied(z: Tensor, *layers: nn.Module) -> Tensor:
    """Return what layers that take rows ``(N, D)`` make of ``(…, D)``, one after the other."""
    rows = z.flatten(0, -2)
    for layer in layers:
        rows = layer(rows)
    return rows.reshape(*z.shape[:-1], -1)


def mask_token(width: int, seed: int, *path: object) -> nn.Parameter:
    """Return the vector ``(width,)`` shown in place of hidden patches."""
    draw = generator(seed, "head", *path, "mask")
    return nn.Parameter(0.02 * torch.randn(width, generator=draw))


class TokenDecoder(nn.Module):
    """Small transformer that fills in hidden patches.

    Visible tokens ``(N, K, width_in)`` and their places ``(N, K)`` on a grid in, ``(N, P, out)``
    for all places out.
    """

    def __init__(
        self, width_in: int, out: int, grid: int, width: int, depth: int, seed: int, *path: object
    ) -> None:
        super().__init__()
        self.embed = linear(width_in, width, seed, *path, "embed")
        self.mask_token = mask_token(width, seed, *path)
        with seeded(address(seed, "head", *path, "blocks")):
            self.blocks = nn.Sequential(
                *(
                    Block(width, max(1, width // 32), mlp_ratio=2.0, qkv_bias=True)
                    for _ in range(depth)
                )
            )
        self.norm = nn.LayerNorm(width)
        self.head = linear(width, out, seed, *path, "head")
        self.register_buffer("places", sinusoids(grid, width), persistent=False)
        self.places: Tensor

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """Decode every place of the grid."""
        visible = self.embed(tokens)
        n, _, width = visible.shape
        full = self.mask_token.to(visible.dtype).expand(n, len(self.places), width)
        full = full.scatter(1, keep.unsqueeze(2).expand(-1, -1, width), visible)
        decoded: Tensor = self.head(self.norm(self.blocks(full + self.places)))
        return decoded


def sinusoids(grid: int, width: int) -> Tensor:
    """Return fixed positions ``(grid², width)``: sines and cosines of the row and of the column."""
    quarter = width // 4
    rates = 100.0 ** (-torch.arange(quarter) / quarter)
    angles = torch.arange(grid).unsqueeze(1) * rates
    one = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = one.unsqueeze(1).expand(grid, grid, -1)
    columns = one.unsqueeze(0).expand(grid, grid, -1)
    places = torch.cat([rows, columns], dim=2).reshape(grid * grid, -1)
    return nn.functional.pad(places, (0, width - places.shape[1]))
