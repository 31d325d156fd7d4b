"""Decoding one chunk of images in whatever process it lands: pixels, content id, perceptual hash,
or the reason it has none.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.core.image.decode import (
    Pixels,
    Unreadable,
    content_id,
    in_channels,
    open_pixels,
    resize,
    whole,
)
from stages.core.plugins import load
from stages.core.sixteen import FULL, Levels
from stages.ingest.phash import SIDE, as_text, phash


@dataclass(frozen=True)
class Task:
    """A few images of one source and what to make of them."""

    reader: str
    handles: Sequence[Any]
    channels: int
    size: int
    max_pixels: int
    levels: Levels = FULL
    sides: tuple[int, int] = (1, 1 << 30)
    """The shorter side at least and the longer side at most, in pixels; others are quarantined."""


@dataclass(frozen=True)
class Chunk:
    """What became of a task, in its order. A quarantined image has a reason, no id and black
    pixels.
    """

    pixels: npt.NDArray[np.uint8]  # (n, channels, size, size)
    ids: list[str | None]
    hashes: list[str | None]
    shapes: npt.NDArray[np.int32]  # (n, 3): width, height, channels of the source image
    reasons: list[str | None]
    contents: npt.NDArray[
        np.uint8
    ]  # (n, 32): sha256 of the very bytes that were decoded, zeros where there were none


def decode_chunk(task: Task) -> Chunk:
    """Load, decode, identify and scale every image of a task. Damaged images never raise."""
    count = len(task.handles)
    fetch = load("stages.ingest.readers", task.reader).load
    pixels = np.zeros((count, task.size, task.size, task.channels), np.uint8)
    grey = np.zeros((count, SIDE, SIDE), np.uint8)
    shapes = np.zeros((count, 3), np.int32)
    contents = np.zeros((count, 32), np.uint8)
    ids: list[str | None] = [None] * count
    reasons: list[str | None] = [None] * count
    unscaled: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Pillow's remarks on odd files: what cannot be used is quarantined with its reason
        for row, handle in enumerate(task.handles):
            try:
                image = fetch(handle)
                if not isinstance(image, np.ndarray):
                    content = whole(image, task.max_pixels)
                    contents[row] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
                    image = open_pixels(content, task.max_pixels, task.levels)
                _check_sides(image, task.sides)
            except Unreadable as error:
                reasons[row] = str(error)
                continue
            full = in_channels(image, task.channels)
            ids[row] = content_id(full)
            height, width, depth = image.shape
            shapes[row] = width, height, depth
            pixels[row] = resize(full, task.size)
            if full.shape == (SIDE, SIDE, 3) and task.size == SIDE:
                unscaled.append(row)
            else:
                grey[row] = _thumbnail(image)
    if unscaled:
        grey[unscaled] = _luma(pixels[unscaled])
    hashes = [
        None if name is None else text for name, text in zip(ids, as_text(phash(grey)), strict=True)
    ]
    return Chunk(
        np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), ids, hashes, shapes, reasons, contents
    )


def _check_sides(image: Pixels, sides: tuple[int, int]) -> None:
    height, width, _ = image.shape
    if min(width, height) < sides[0]:
        raise Unreadable(
            f"{width} x {height} pixels: the shorter side is under {sides[0]} (validate.min_side)"
        )
    if max(width, height) > sides[1]:
        raise Unreadable(
            f"{width} x {height} pixels: the longer side is over {sides[1]} (validate.max_side)"
        )


def crashed(task: Task) -> Chunk:
    """What stands for the one image of a task whose decoding killed the process."""
    pixels = np.zeros((1, task.channels, task.size, task.size), np.uint8)
    shapes, contents = np.zeros((1, 3), np.int32), np.zeros((1, 32), np.uint8)
    return Chunk(pixels, [None], [None], shapes, ["the decoder crashed on it"], contents)


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Several chunks as one."""
    return Chunk(
        np.concatenate([chunk.pixels for chunk in chunks]),
        [name for chunk in chunks for name in chunk.ids],
        [text for chunk in chunks for text in chunk.hashes],
        np.concatenate([chunk.shapes for chunk in chunks]),
        [reason for chunk in chunks for reason in chunk.reasons],
        np.concatenate([chunk.contents for chunk in chunks]),
    )


def _luma(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey of ``(n, H, W, 3)``: for Pillow one tall image."""
    count, height, width, _ = pixels.shape
    return np.asarray(
        Image.fromarray(pixels.reshape(count * height, width, 3)).convert("L")
    ).reshape(count, height, width)


def _thumbnail(image: Pixels) -> npt.NDArray[np.uint8]:
    plain = in_channels(image, 1)[:, :, 0]
    if plain.shape == (SIDE, SIDE):
        return plain
    return np.asarray(Image.fromarray(plain).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
