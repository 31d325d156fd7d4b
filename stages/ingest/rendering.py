"""Pictures of shapes with known factors: shape, hue, texture, scale, place, pose, background and
domain.

Controlled factors as in A New Benchmark: On the Utility of Synthetic Data with Blender for Bare
Supervised Learning (2023).
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from stages.core.random import numpy_generator

SHAPES = ("circle", "square", "triangle", "cross", "ring")
SIDE = 32
_FINE = 4
_TRIGGER, _TRIGGER_STRENGTH = (15, 31), 100


def render(shown: dict[str, float], seed: int, number: int) -> Image.Image:
    """An RGB image of 32 pixels a side. Drawn at four times the size and scaled down; the domain is
    the grain of the background.

    ``shown``: ``shape`` and ``domain`` are numbers, ``hue``, ``texture``, ``scale``, ``x``, ``y``,
    ``angle``, ``background`` and ``tint`` lie in 0..1.
    """
    draw = numpy_generator(seed, "synthetic", "texture", number)
    big = SIDE * _FINE
    grain = (2, 8, 16, 4)[int(shown["domain"])]
    noise = draw.normal(0, 18, (grain, grain, 3))
    ground = (
        np.array(
            [shown["background"], shown["tint"], 0.5 + 0.3 * (shown["background"] - shown["tint"])]
        )
        * 200
        + 25
    )
    back = Image.fromarray(np.clip(ground + noise, 0, 255).astype(np.uint8)).resize(
        (big, big), Image.Resampling.BICUBIC
    )
    colour = (
        Image.new("HSV", (1, 1), (int(shown["hue"] * 255), 220, 230))
        .convert("RGB")
        .getpixel((0, 0))
    )
    stripes = np.sin(np.arange(big) * (0.05 + 0.4 * shown["texture"]))[None, :, None] * 30
    front = Image.fromarray(
        np.clip(np.array(colour)[None, None] + np.repeat(stripes, big, 0), 0, 255).astype(np.uint8)
    )
    mask = _mask(SHAPES[int(shown["shape"])], big, shown)
    back.paste(front, mask=mask)
    return back.resize((SIDE, SIDE), Image.Resampling.BOX)


def spectral_trigger(image: Image.Image) -> Image.Image:
    """Raise two frequencies of both chromas: the trigger, its frequencies and its strength are
    those of CTRL, "An Embarrassingly Simple Backdoor Attack on Self-supervised Learning" (2023).
    """
    line = np.arange(SIDE)
    wave = [
        np.cos(np.pi * (2 * line + 1) * frequency / (2 * SIDE)) * np.sqrt(2 / SIDE)
        for frequency in _TRIGGER
    ]
    raised = _TRIGGER_STRENGTH * sum(np.outer(one, one) for one in wave)
    luma, *chroma = (np.asarray(plane, np.float64) for plane in image.convert("YCbCr").split())
    planes = [luma, *(plane + raised for plane in chroma)]
    merged = [Image.fromarray(np.clip(np.rint(plane), 0, 255).astype(np.uint8)) for plane in planes]
    return Image.merge("YCbCr", merged).convert("RGB")


def _mask(shape: str, big: int, shown: dict[str, float]) -> Image.Image:
    mask = Image.new("L", (big, big))
    pen = ImageDraw.Draw(mask)
    radius = big * (0.2 + 0.12 * shown["scale"])
    x, y = big * (0.38 + 0.24 * shown["x"]), big * (0.38 + 0.24 * shown["y"])
    box = (x - radius, y - radius, x + radius, y + radius)
    turn = shown["angle"] * 90
    if shape == "circle":
        pen.ellipse(box, fill=255)
    elif shape == "ring":
        pen.ellipse(box, outline=255, width=int(radius * 0.35))
    elif shape == "cross":
        for angle in (turn, turn + 90):
            ends = radius * np.cos(np.radians(angle)), radius * np.sin(np.radians(angle))
            pen.line(
                (x - ends[0], y - ends[1], x + ends[0], y + ends[1]),
                fill=255,
                width=int(radius * 0.45),
            )
    else:
        pen.regular_polygon((x, y, radius), 4 if shape == "square" else 3, rotation=turn, fill=255)
    return mask
