"""Overlap: which places of two views of an image show the same part of it."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.core.image.views.warp import Warp, centres


def sources(warp: Warp, size: tuple[int, int], cells: int) -> Tensor:
    """Return where the centres of ``cells`` × ``cells`` were read, ``(N, cells, cells, 2)``.

    x and y in pixels from the centre of the image, whose ``size`` is height and width.
    """
    height, width = size
    y, _ = centres(warp.box[:, 0], warp.box[:, 2], warp.mirrored[:, 0], cells)
    x, _ = centres(warp.box[:, 1], warp.box[:, 3], warp.mirrored[:, 1], cells)
    n = len(y)
    columns = (x - width / 2).unsqueeze(1).expand(n, cells, cells)
    rows = (y - height / 2).unsqueeze(2).expand(n, cells, cells)
    points = torch.stack([columns, rows], dim=3)
    if warp.matrix is None:
        return points
    turned = points.flatten(1, 2) @ warp.matrix[:, :, :2].transpose(1, 2)
    return (turned + warp.matrix[:, None, :, 2]).reshape(points.shape)


def partners(
    first: Warp | None, second: Warp | None, side: int, cells: int
) -> tuple[Tensor, Tensor]:
    """Return for each place of the first view the place of the second that shows the same.

    Args:
        first: of one view of square images; ``second``: of the other.
        side: of the images in pixels.
        cells: places per side.

    Returns:
        ``(N, cells²)`` int64, row by row, and ``(N, cells²)`` bool: false where the second view
        does not show it; then the number means nothing. Both on the CPU.
    """
    assert first is not None and second is not None, "the views say nothing of where they were read"
    points = sources(first, (side, side), cells).flatten(1, 2)
    if second.matrix is not None:
        back = torch.linalg.inv(second.matrix[:, :, :2]).transpose(1, 2)
        points = (points - second.matrix[:, None, :, 2]) @ back
    half = side / 2
    start, extent = second.box[:, [1, 0]], second.box[:, [3, 2]]
    place = (points + half - start.unsqueeze(1)) / extent.unsqueeze(1)
    mirrored = second.mirrored[:, [1, 0]].unsqueeze(1)
    place = torch.where(mirrored, 1 - place, place)
    inside = ((place >= 0) & (place < 1)).all(dim=2)
    column, row = (place * cells).floor().long().clamp(0, cells - 1).unbind(dim=2)
    return row * cells + column, inside
