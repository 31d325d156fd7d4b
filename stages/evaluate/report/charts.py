"""Charts as inline SVG, written by hand: a few numbers in, the same characters out on every
machine.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

WIDE, HALF, PHONE = (940, 400), (480, 320), (380, 320)
"""Sizes at which a chart's letters are as large as the page's."""
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 46
INK, MUTED, RULE = "#1b1f24", "#57606a", "#e4e7eb"
BLUES = ((247, 250, 253), (8, 69, 120))
"""Ends of the scale of a heat map."""


@dataclass(frozen=True)
class Point:
    """A value at a place, with its interval where it has one, and what the pointer shows."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    colour: str
    points: Sequence[Point]
    shape: str = "circle"
    dashed: bool = False


@dataclass(frozen=True)
class Axes:
    """What the axes say; ``x_ticks`` and ``y_ticks`` are (place, text)."""

    title: str
    x_title: str
    y_title: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    markers: bool = True
    spread: float = field(default=0.0)
    """How far lines are moved apart along x, so that whiskers at the same place stay apart."""


def line_chart(series: Sequence[Series], axes: Axes, size: tuple[int, int] = HALF) -> Markup:
    """Lines with whiskers over a light grid, drawn for a page of the given width."""
    width, height = size
    x_low, x_high = axes.x_ticks[0][0] - axes.spread, axes.x_ticks[-1][0] + axes.spread
    y_low, y_high = axes.y_ticks[0][0], axes.y_ticks[-1][0]

    def across(x: float) -> float:
        return LEFT + (x - x_low) / ((x_high - x_low) or 1) * (width - LEFT - RIGHT)

    def down(y: float) -> float:
        return (
            height
            - BOTTOM
            - (min(max(y, y_low), y_high) - y_low)
            / ((y_high - y_low) or 1)
            * (height - TOP - BOTTOM)
        )

    parts = [_frame(axes, across, down, size)]
    for index, line in enumerate(series):
        shift = axes.spread * ((index + 0.5) / len(series) - 0.5)
        places = [(across(point.x + shift), down(point.y), point) for point in line.points]
        path = " ".join(
            f"{'M' if step == 0 else 'L'}{x:.1f} {y:.1f}" for step, (x, y, _) in enumerate(places)
        )
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(
            f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="2"'
            f' stroke-linejoin="round"{dash}/>'
        )
        for x, y, point in places:
            if point.low is not None and point.high is not None:
                parts.append(_whisker(x, down(point.low), down(point.high), line.colour))
            if axes.markers:
                parts.append(marker(line.shape, x, y, line.colour, f"{line.name}: {point.note}"))
    return _svg(width, height, axes.title, "".join(parts))


def marker(shape: str, x: float, y: float, colour: str, note: str = "") -> str:
    """A dot that can be told from the others without its colour."""
    title = f"<title>{escape(note)}</title>" if note else ""
    look = f'fill="{colour}" stroke="#fff" stroke-width="1.2"'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {look}>{title}</circle>'
    if shape == "square":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {look}>{title}</rect>'
    corners = {
        "diamond": [(0, -5.6), (5.6, 0), (0, 5.6), (-5.6, 0)],
        "up": [(0, -5.4), (5.2, 4.2), (-5.2, 4.2)],
        "down": [(0, 5.4), (5.2, -4.2), (-5.2, -4.2)],
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" {look}>{title}</polygon>'


def swatch(series: Series) -> Markup:
    """The key of a line in the legend."""
    dash = ' stroke-dasharray="5 4"' if series.dashed else ""
    line = f'<path d="M1 8H29" stroke="{series.colour}" stroke-width="2"{dash}/>'
    dot = marker(series.shape, 15, 8, series.colour)
    return Markup(
        f'<svg width="30" height="16" viewBox="0 0 30 16" aria-hidden="true">{line}{dot}</svg>'
    )


def reliability_chart(bins: Sequence[tuple[float, float, float, float, int]]) -> Markup:
    """Bars of accuracy over confidence, (low, high, confidence, accuracy, count), against the
    diagonal of perfect calibration.
    """
    width, height, left, bottom = 340, 340, 46, 46

    def across(x: float) -> float:
        return left + x * (width - left - RIGHT)

    def down(y: float) -> float:
        return height - bottom - y * (height - TOP - bottom)

    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<path d="M{across(0):.1f} {down(tick):.1f}H{across(1):.1f}" stroke="{RULE}"/>'
        )
        parts.append(_text(across(0) - 8, down(tick) + 4, f"{100 * tick:.0f}", "end"))
        parts.append(_text(across(tick), down(0) + 18, f"{100 * tick:.0f}", "middle"))
    largest = max((count for *_, count in bins), default=1)
    for low, high, confidence, accuracy, count in bins:
        x, wide = across(low) + 1, across(high) - across(low) - 2
        note = (
            f"confidence {100 * confidence:.0f} %, accuracy {100 * accuracy:.0f} %, {count} images"
        )
        strength = 0.35 + 0.65 * math.sqrt(count / largest)
        parts.append(
            f'<rect x="{x:.1f}" y="{down(accuracy):.1f}" width="{wide:.1f}"'
            f' height="{down(0) - down(accuracy):.1f}" fill="#0072b2"'
            f' fill-opacity="{strength:.2f}"><title>{note}</title></rect>'
        )
    parts.append(
        f'<path d="M{across(0):.1f} {down(0):.1f}L{across(1):.1f} {down(1):.1f}" stroke="{INK}"'
        ' stroke-dasharray="4 4"/>'
    )
    parts.append(_text((across(0) + across(1)) / 2, height - 8, "confidence, %", "middle"))
    parts.append(_upright(12, (down(0) + down(1)) / 2, "accuracy, %"))
    return _svg(width, height, "Reliability diagram", "".join(parts))


def heat_map(counts: NDArray[np.int64], names: Sequence[str]) -> Markup:
    """A confusion matrix with its numbers, rows the truth; for up to about thirty classes."""
    size = len(names)
    cell = max(18.0, min(44.0, 420 / size))
    longest = max(len(name) for name in names)
    margin = min(150.0, 14 + 6.6 * longest)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = cell * size
    parts = []
    for row in range(size):
        for column in range(size):
            share, count = float(shares[row, column]), int(counts[row, column])
            x, y = margin + 18 + column * cell, 8 + row * cell
            note = f"{names[row]} taken for {names[column]}: {count} ({100 * share:.0f} %)"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}"'
                f' fill="{_blue(share)}"><title>{escape(note)}</title></rect>'
            )
            if count:
                colour = "#fff" if share > 0.45 else INK
                parts.append(
                    _text(
                        x + cell / 2,
                        y + cell / 2 + 4,
                        str(count),
                        "middle",
                        colour,
                        min(12.0, cell * 0.5),
                    )
                )
        parts.append(_text(margin + 10, 8 + row * cell + cell / 2 + 4, _short(names[row]), "end"))
    turned = longest * 7 > cell
    for column in range(size):
        x, y = margin + 18 + column * cell + cell / 2, 8 + side + 14
        label = escape(_short(names[column]))
        where = (
            f'transform="translate({x + 3:.1f} {y:.1f}) rotate(-45)"'
            if turned
            else f'x="{x:.1f}" y="{y:.1f}"'
        )
        anchor = "end" if turned else "middle"
        parts.append(
            f'<text {where} text-anchor="{anchor}" fill="{MUTED}" font-size="12">{label}</text>'
        )
    foot = (margin * 0.75 if turned else 18) + 22
    parts.append(_text(margin + 18 + side / 2, 8 + side + foot, "predicted", "middle"))
    parts.append(_upright(12, 8 + side / 2, "true class"))
    return _svg(margin + 22 + side, side + foot + 14, "Confusion matrix", "".join(parts))


def heat_image(counts: NDArray[np.int64]) -> str:
    """The same for hundreds of classes: a data URI of one pixel per cell, on the square root of the
    share so that rare confusions show.
    """
    shares = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[..., None]
    low, high = np.array(BLUES[0]), np.array(BLUES[1])
    return png((low + shares * (high - low)).round().astype(np.uint8))


def png(image: NDArray[np.uint8]) -> str:
    """A data URI of (H, W) grey or (H, W, 3) colour."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image.squeeze()).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def even_ticks(low: float, high: float, percent: bool = False) -> list[tuple[float, str]]:
    """Four to seven round numbers that enclose the range."""
    span = max(high - low, 1e-9)
    raw = span / 5
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    values = [index * step for index in range(first, last + 1)]
    return [(value, f"{100 * value:.0f}" if percent else f"{value:.4g}") for value in values]


def _frame(
    axes: Axes,
    across: Callable[[float], float],
    down: Callable[[float], float],
    size: tuple[int, int],
) -> str:
    width, height = size
    parts = []
    for y, label in axes.y_ticks:
        parts.append(f'<path d="M{LEFT} {down(y):.1f}H{width - RIGHT}" stroke="{RULE}"/>')
        parts.append(_text(LEFT - 8, down(y) + 4, label, "end"))
    for x, label in axes.x_ticks:
        parts.append(_text(across(x), height - BOTTOM + 18, label, "middle"))
    parts.append(_text((LEFT + width - RIGHT) / 2, height - 6, axes.x_title, "middle"))
    parts.append(_upright(12, (TOP + height - BOTTOM) / 2, axes.y_title))
    return "".join(parts)


def _whisker(x: float, low: float, high: float, colour: str) -> str:
    caps = f"M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6"
    return (
        f'<path d="M{x:.1f} {low:.1f}V{high:.1f}{caps}" stroke="{colour}" stroke-width="1.2"'
        ' stroke-opacity="0.65" fill="none"/>'
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = MUTED, size: float = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
        f' font-size="{size:g}">{escape(text)}</text>'
    )


def _upright(x: float, y: float, text: str) -> str:
    where = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"'
    return f'<text {where} text-anchor="middle" fill="{MUTED}" font-size="12">{escape(text)}</text>'


def _svg(width: float, height: float, title: str, body: str) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img"'
        f' aria-label="{escape(title)}">{body}</svg>'
    )


def _blue(share: float) -> str:
    mixed = [round(low + share * (high - low)) for low, high in zip(*BLUES, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _short(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"
