"""Decoding one chunk of images in whatever process it lands: pixels, content id, perceptual hash, or the reason it has none."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.core.images import Pixels, Unreadable, content_id, open_image, resize, to_array
from stages.core.registry import load
from stages.ingest.phash import SIDE, as_text, phash


@dataclass(frozen=True)
class Task:
    """A few images of one source and what to make of them."""

    reader: str
    handles: Sequence[Any]
    channels: int
    size: int
    max_pixels: int


@dataclass(frozen=True)
class Chunk:
    """What became of a task, in its order. A quarantined image has a reason, no id and black pixels."""

    pixels: npt.NDArray[np.uint8]  # (n, channels, size, size)
    ids: list[str | None]
    hashes: list[str | None]
    shapes: npt.NDArray[np.int32]  # (n, 3): width, height, channels of the source image
    reasons: list[str | None]


def decode_chunk(task: Task) -> Chunk:
    """Load, decode, identify and scale every image of a task. Damaged images never raise."""
    count = len(task.handles)
    fetch = load("stages.ingest.readers", task.reader).load
    pixels = np.zeros((count, task.channels, task.size, task.size), np.uint8)
    grey = np.zeros((count, SIDE, SIDE), np.uint8)
    shapes = np.zeros((count, 3), np.int32)
    ids: list[str | None] = [None] * count
    reasons: list[str | None] = [None] * count
    unscaled: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files: what cannot be used is quarantined with its reason
        for row, handle in enumerate(task.handles):
            try:
                image = as_image(fetch(handle), task.max_pixels)
            except Unreadable as error:
                reasons[row] = str(error)
                continue
            full = to_array(image, task.channels)
            ids[row] = content_id(full)
            shapes[row] = image.width, image.height, 1 if image.mode == "L" else 3
            pixels[row] = resize(full, task.size).transpose(2, 0, 1)
            if full.shape == (SIDE, SIDE, 3) and task.size == SIDE:
                unscaled.append(row)
            else:
                grey[row] = _thumbnail(image)
    if unscaled:
        grey[unscaled] = _luma(pixels[unscaled])
    hashes = [None if name is None else text for name, text in zip(ids, as_text(phash(grey)), strict=True)]
    return Chunk(pixels, ids, hashes, shapes, reasons)


def as_image(content: bytes | Path | Pixels, max_pixels: int) -> Image.Image:
    """What a reader hands over as a Pillow image of mode ``L`` or ``RGB``."""
    if isinstance(content, np.ndarray):
        return Image.fromarray(content[:, :, 0] if content.shape[2] == 1 else content)
    return open_image(content, max_pixels)


def crashed(task: Task) -> Chunk:
    """What stands for the one image of a task whose decoding killed the process."""
    pixels = np.zeros((1, task.channels, task.size, task.size), np.uint8)
    return Chunk(pixels, [None], [None], np.zeros((1, 3), np.int32), ["the decoder crashed on it"])


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Several chunks as one."""
    return Chunk(
        np.concatenate([chunk.pixels for chunk in chunks]),
        [name for chunk in chunks for name in chunk.ids],
        [text for chunk in chunks for text in chunk.hashes],
        np.concatenate([chunk.shapes for chunk in chunks]),
        [reason for chunk in chunks for reason in chunk.reasons],
    )


def _luma(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey of ``(n, 3, H, W)`` to the bit as Pillow has it, many images at once."""
    red, green, blue = (pixels[:, channel].astype(np.uint32) for channel in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


def _thumbnail(image: Image.Image) -> npt.NDArray[np.uint8]:
    plain = image if image.mode == "L" else image.convert("L")
    return np.asarray(plain if plain.size == (SIDE, SIDE) else plain.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
