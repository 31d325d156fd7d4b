"""The preview sheet: a few images, and what training will see of them."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stages.core.image.views.engine import augment
from stages.core.image.views.policy import Policy
from stages.core.random import generator

IMAGES, VIEWS = 8, 8
CELL, GAP, MARGIN, HEAD = 96, 6, 16, 64
INK, FAINT, PAPER = (32, 32, 36), (120, 120, 128), (250, 250, 248)


def views_of(images: Tensor, policy: Policy, seed: int) -> Tensor:
    """``(N, VIEWS, C, H, W)`` float in 0…1: views of uint8 images ``(N, C, H, W)``, each column
    another draw.
    """
    columns = []
    for number in range(VIEWS):
        ops = policy.views[number % len(policy.views)]
        columns.append(augment(ops, images, generator(seed, "preview", number)))
    return torch.stack(columns, dim=1)


def sheet(images: Tensor, views: Tensor, title: str, caption: str) -> bytes:
    """A PNG: one row per image, the original first, then its views, enlarged without smoothing so
    that pixels can be judged.
    """
    rows, columns = len(images), 1 + views.shape[1]
    width = 2 * MARGIN + columns * (CELL + GAP) + GAP
    canvas = Image.new("RGB", (width, HEAD + rows * (CELL + GAP) + MARGIN + 20), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, 12), title, INK, ImageFont.load_default(18))
    draw.text((MARGIN, HEAD - 22), "original", FAINT, ImageFont.load_default(13))
    draw.text((MARGIN + CELL + 3 * GAP, HEAD - 22), "views", FAINT, ImageFont.load_default(13))
    for row in range(rows):
        pictures = [images[row].float() / 255, *views[row]]
        for column, picture in enumerate(pictures):
            left = MARGIN + column * (CELL + GAP) + (2 * GAP if column else 0)
            canvas.paste(_picture(picture), (left, HEAD + row * (CELL + GAP)))
    draw.text((MARGIN, canvas.height - 26), caption, FAINT, ImageFont.load_default(13))
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def _picture(pixels: Tensor) -> Image.Image:
    """``(C, H, W)`` in 0…1 as a cell; smooth only when it must shrink."""
    array = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array)
    return picture.resize(
        (CELL, CELL),
        Image.Resampling.NEAREST if picture.width <= CELL else Image.Resampling.LANCZOS,
    )
