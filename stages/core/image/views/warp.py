"""One resampling per view, however many geometric operations: they only say where each output pixel
comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


@dataclass(frozen=True)
class Warp:
    """Where output pixels are read: a matrix on the whole image, then a box of it, then mirroring.

    Attributes:
        box: ``(N, 4)`` float: top, left, height, width in pixels. mirrored: ``(N, 2)`` bool:
        vertically, horizontally. matrix: ``(N, 2, 3)`` from output to input in pixels counted from
        the image centre, or None where nothing turns.
    """

    box: Tensor
    mirrored: Tensor
    matrix: Tensor | None = None

    @classmethod
    def of(cls, images: Tensor) -> Warp:
        """Every image ``(N, C, H, W)`` as it is."""
        n, _, height, width = images.shape
        return cls(
            torch.tensor([0.0, 0.0, height, width]).repeat(n, 1),
            torch.zeros(n, 2, dtype=torch.bool),
        )

    def turned(self, matrix: Tensor) -> Warp:
        """After the turns so far, one more: ``matrix`` ``(N, 2, 3)``."""
        if self.matrix is None:
            return replace(self, matrix=matrix)
        corner = torch.tensor([0.0, 0.0, 1.0]).expand(len(matrix), 1, 3)
        return replace(self, matrix=torch.bmm(self.matrix, torch.cat([matrix, corner], dim=1)))

    def apply(self, images: Tensor, size: Sequence[int]) -> Tensor:
        """Resample float images ``(N, C, H, W)`` to ``(N, C, *size)``, bilinear; shrinking is
        antialiased unless turned.
        """
        return (
            _separable(images, self, size) if self.matrix is None else _turned(images, self, size)
        )


def _separable(images: Tensor, warp: Warp, size: Sequence[int]) -> Tensor:
    """A box of an image, resized, is two products with small matrices: fast on every device, exact,
    antialiased.
    """
    n, channels, height, width = images.shape
    box = warp.box.to(images.device, non_blocking=True)
    mirrored = warp.mirrored.to(images.device, non_blocking=True)
    down = _weights(box[:, 0], box[:, 2], mirrored[:, 0], height, size[0])
    across = _weights(box[:, 1], box[:, 3], mirrored[:, 1], width, size[1])
    rows = torch.bmm(images.reshape(n, channels * height, width), across.transpose(1, 2))
    rows = rows.view(n, channels, height, size[1])
    if channels == 1:
        return torch.bmm(down, rows[:, 0]).unsqueeze(1)
    stacked = rows.transpose(1, 2).reshape(n, height, channels * size[1])
    return torch.bmm(down, stacked).view(n, size[0], channels, size[1]).transpose(1, 2)


def _weights(start: Tensor, extent: Tensor, mirrored: Tensor, length: int, out: int) -> Tensor:
    """Triangle-filter weights ``(N, out, length)`` that read ``extent`` pixels from ``start`` on,
    each row summing to 1.
    """
    centre, scale = centres(start, extent, mirrored, out)
    support = scale.clamp(min=1).view(-1, 1, 1)
    pixel = torch.arange(length, device=start.device, dtype=torch.float32) + 0.5
    weights = (1 - (pixel.view(1, 1, -1) - centre.unsqueeze(2)).abs_().div_(support)).clamp_(min=0)
    inside = (pixel >= start.unsqueeze(1)) & (pixel <= (start + extent).unsqueeze(1))
    weights.mul_(inside.unsqueeze(1))
    return weights.div_(weights.sum(dim=2, keepdim=True))


def centres(start: Tensor, extent: Tensor, mirrored: Tensor, out: int) -> tuple[Tensor, Tensor]:
    """Return where each of ``out`` pixels is centred in the input ``(N, out)``, and input pixels
    per output pixel ``(N,)``.
    """
    scale = extent / out
    step = (torch.arange(out, device=start.device, dtype=torch.float32) + 0.5).unsqueeze(0)
    step = torch.where(mirrored.unsqueeze(1), out - step, step)
    return start.unsqueeze(1) + step * scale.unsqueeze(1), scale


def _turned(images: Tensor, warp: Warp, size: Sequence[int]) -> Tensor:
    """Bilinear sampling along turned axes; what lies outside the image is black."""
    height, width = images.shape[2:]
    box, mirrored = warp.box, warp.mirrored
    y, _ = centres(box[:, 0], box[:, 2], mirrored[:, 0], size[0])
    x, _ = centres(box[:, 1], box[:, 3], mirrored[:, 1], size[1])
    y = _kept_inside(y, box[:, 0], box[:, 2]) - height / 2
    x = _kept_inside(x, box[:, 1], box[:, 3]) - width / 2
    assert warp.matrix is not None
    unit = torch.tensor([2.0 / width, 2.0 / height]).view(1, 2, 1)
    matrix = warp.matrix * unit
    along_x = x.view(-1, 1, size[1], 1) * matrix[:, None, None, :, 0]
    along_y = y.view(-1, size[0], 1, 1) * matrix[:, None, None, :, 1]
    grid = (along_x + along_y + matrix[:, None, None, :, 2]).to(images.device, non_blocking=True)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _kept_inside(centre: Tensor, start: Tensor, extent: Tensor) -> Tensor:
    """Reading half a pixel outside the box would mix in what the crop cut off."""
    low, high = (start + 0.5).unsqueeze(1), (start + extent - 0.5).unsqueeze(1)
    return torch.maximum(torch.minimum(centre, high), low)
