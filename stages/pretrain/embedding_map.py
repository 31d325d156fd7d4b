"""A map of what an encoder sees: images as dots, laid out along the two directions in which their
features differ most.

A straight projection, so what is apart on it is apart; what lies together may be apart in another
direction (shares of the variance stand below). Analysis of a Complex of Statistical Variables into
Principal Components (1933).
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stages.core.metrics.representation import normalise

Array = NDArray[np.float32]
Colour = tuple[int, int, int]
PANEL, MARGIN, HEAD, FOOT, DOT = 320, 16, 40, 44, 2
INK, FAINT, PAPER, FRAME = (32, 32, 36), (120, 120, 128), (250, 250, 248), (214, 214, 210)


def embedding_map(
    features: Mapping[str, Array], labels: NDArray[np.int64], classes: Sequence[str]
) -> bytes:
    """A PNG with a panel for each kind of features (name → (N, D)) of the same images, a colour for
    each class.

    Args:
        features: what to lay out.
        labels: (N,) indices into ``classes``, -1 where an image has none.
        classes: their names.
    """
    canvas = Image.new(
        "RGB", (MARGIN + len(features) * (PANEL + MARGIN), HEAD + PANEL + FOOT), PAPER
    )
    draw = ImageDraw.Draw(canvas)
    colours = [
        *(_colour(number, len(classes)) for number in range(len(classes))),
        FAINT,
    ]  # the last is that of -1
    for number, (name, values) in enumerate(features.items()):
        left = MARGIN + number * (PANEL + MARGIN)
        places, shares = plane(values)
        draw.rectangle((left, HEAD, left + PANEL, HEAD + PANEL), outline=FRAME)
        draw.text(
            (left, 12),
            f"{name}: {100 * shares[0]:.0f} % and {100 * shares[1]:.0f} % of variance",
            INK,
            _font(14),
        )
        for (x, y), label in zip(_fitted(places), labels, strict=True):
            at = left + x, HEAD + y
            draw.ellipse((at[0] - DOT, at[1] - DOT, at[0] + DOT, at[1] + DOT), fill=colours[label])
    _legend(draw, dict(zip(classes, colours, strict=False)), f"{len(labels):,} images", canvas.size)
    with io.BytesIO() as file:
        canvas.save(file, "PNG")
        return file.getvalue()


def plane(features: Array) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Places (N, 2) of features (N, D) at unit length on their first two principal components, and
    the shares these explain.
    """
    from sklearn.decomposition import PCA

    values = normalise(features.reshape(len(features), -1)).astype(np.float64)
    places, shares = np.zeros((len(values), 2)), np.zeros(2)
    count = min(2, *values.shape)
    if values.var(axis=0).sum() > 0:
        found = PCA(count, svd_solver="full").fit(values)
        places[:, :count], shares[:count] = found.transform(values), found.explained_variance_ratio_
    return places, (float(shares[0]), float(shares[1]))


def _fitted(places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole pixels inside a panel, one scale for both axes, the middle in the middle."""
    low, high = places.min(axis=0), places.max(axis=0)
    scale = (PANEL - 6 * DOT) / max(float((high - low).max()), 1e-12)
    placed: NDArray[np.int64] = np.round((places - (low + high) / 2) * scale + PANEL / 2).astype(
        np.int64
    )
    return placed


def _legend(
    draw: ImageDraw.ImageDraw, colours: Mapping[str, Colour], text: str, size: tuple[int, int]
) -> None:
    """How many images, and which colour is which class, for as many as there is room."""
    y = size[1] - FOOT + 14
    draw.text((MARGIN, y), text, FAINT, _font(13))
    x = MARGIN + 20 + draw.textlength(text, _font(13))
    for name, colour in colours.items():
        wide = draw.textlength(name, _font(13))
        if x + 40 + wide > size[0] - MARGIN:
            draw.text((x, y), "…", INK, _font(13))
            return
        draw.ellipse((x, y + 5, x + 2 * DOT + 2, y + 2 * DOT + 7), fill=colour)
        draw.text((x + 12, y), name, INK, _font(13))
        x += 28 + wide


def _colour(number: int, count: int) -> Colour:
    """Hues around the circle, every second one darker."""
    red, green, blue = colorsys.hsv_to_rgb(number / count, 0.75, (0.85, 0.6)[number % 2])
    return round(255 * red), round(255 * green), round(255 * blue)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
