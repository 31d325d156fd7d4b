"""The part of the page that shows errors: confusion matrix, accuracy by class, contact sheet. For 2
classes and for 200.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.core.metrics.representation import Labels
from stages.evaluate.classifier import Verdict
from stages.evaluate.report import charts
from stages.evaluate.report.findings import percent

NUMBERED = 30
"""Up to this many classes the matrix shows its numbers."""
SHOWN = 20
"""Classes shown at once when there are more than :data:`NUMBERED`."""
TILES = 32
PAIRS = 8


def errors_section(
    verdict: Verdict, images: NDArray[np.uint8], truth: Labels, classes: Sequence[str]
) -> dict[str, Any]:
    """Everything the template needs, worst first."""
    wrong = np.flatnonzero(verdict.predicted != truth)
    many = len(classes) > NUMBERED
    bars = [
        _bar(verdict, index, name)
        for index, name in enumerate(classes)
        if verdict.confusion[index].sum()
    ]
    if many:
        bars.sort(key=lambda bar: float(bar["value"]))
    pairs = _pairs(verdict, classes)
    return {
        "summary": (
            f"{len(wrong):,} of {len(truth):,} test images are wrong"
            f" ({percent(1 - verdict.accuracy.value)})."
        ),
        "matrix": None if many else charts.heat_map(verdict.confusion, classes),
        "matrix_image": charts.heat_image(verdict.confusion) if many else None,
        "matrix_note": (
            f" of {len(classes)} classes: rows the truth, columns the prediction, in alphabetical"
            " order"
            if many
            else ""
        ),
        "pairs": pairs,
        "shown": bars[:SHOWN] if many else bars,
        "hidden": bars[SHOWN:] if many else [],
        "sheet": _sheet(verdict, images, truth, classes, wrong),
        "sheet_note": _sheet_note(len(wrong)),
    }


def _bar(verdict: Verdict, index: int, name: str) -> dict[str, str]:
    value, row = verdict.by_class[index], verdict.confusion[index]
    return {
        "name": name,
        "value": f"{100 * value.value:.1f}",
        "low": f"{100 * value.low:.1f}",
        "width": f"{100 * (value.high - value.low):.1f}",
        "text": percent(value.value),
        "count": f"{row[index]:,} of {row.sum():,}",
    }


def _pairs(verdict: Verdict, classes: Sequence[str]) -> list[dict[str, str]]:
    off = verdict.confusion.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
    pairs = []
    for row, column in zip(*np.unravel_index(order, off.shape), strict=True):
        if off[row, column]:
            share = percent(off[row, column] / verdict.confusion[row].sum())
            pairs.append(
                {
                    "truth": classes[row],
                    "predicted": classes[column],
                    "count": f"{off[row, column]:,}",
                    "share": share,
                }
            )
    return pairs


def _sheet(
    verdict: Verdict,
    images: NDArray[np.uint8],
    truth: Labels,
    classes: Sequence[str],
    wrong: NDArray[np.int64],
) -> list[dict[str, str]]:
    confidence = verdict.probabilities[wrong].max(axis=1) if len(wrong) else np.empty(0)
    surest = wrong[np.argsort(-confidence, kind="stable")[:TILES]]
    return [
        {
            "image": charts.png(images[index].transpose(1, 2, 0)),
            "truth": classes[truth[index]],
            "predicted": classes[verdict.predicted[index]],
            "confidence": f"{100 * verdict.probabilities[index].max():.0f} %",
        }
        for index in surest
    ]


def _sheet_note(wrong: int) -> str:
    which = (
        f"The {TILES} of {wrong:,} the classifier was surest of"
        if wrong > TILES
        else "All of them, the surest first"
    )
    return f"{which}: the true class in bold, then what it was taken for and with what confidence."
