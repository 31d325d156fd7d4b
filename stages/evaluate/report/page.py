"""``reports/evaluate/index.html``: one self-contained page, a function of what it shows and nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.core.metrics.intervals import Interval
from stages.core.metrics.representation import Labels
from stages.evaluate.classifier import Verdict
from stages.evaluate.comparison import MODELS, PAIRS, Table, title
from stages.evaluate.ladder import ALL
from stages.evaluate.report import charts
from stages.evaluate.report.charts import Axes, Point, Series
from stages.evaluate.report.errors_section import errors_section
from stages.evaluate.report.findings import labels_phrase, percent, points, sentences, signed

TEMPLATES = Path(__file__).parent / "templates"
LOOKS = {
    "pixels": ("#6e7781", "square", True),
    "random": ("#a0703a", "down", True),
    "scratch": ("#d55e00", "up", False),
    "control": ("#b5528f", "diamond", True),
    "start": ("#8a6d00", "down", False),
    "pretrained": ("#0072b2", "circle", False),
    "distilled": ("#3d9be0", "diamond", False),
    "finetuned": ("#00795a", "square", False),
}
"""Colour, marker and dashes: told apart without seeing colour."""
SECTIONS = (
    ("ladder", "Label ladder"),
    ("comparisons", "What beats what"),
    ("table", "All results"),
    ("errors", "Errors"),
    ("trust", "Trust"),
    ("data", "Data"),
    ("made", "What made it"),
)


@dataclass(frozen=True)
class Curve:
    """A training curve: lines over epochs or steps."""

    title: str
    x_title: str
    y_title: str
    series: Sequence[Series]


@dataclass(frozen=True)
class Background:
    """What the page says about where the numbers come from."""

    subtitle: str
    facts: Sequence[tuple[str, str]]
    splits: Sequence[Mapping[str, str]]
    curves: Sequence[Curve]
    made: Sequence[tuple[str, str, Sequence[tuple[str, str]]]]
    notes: Sequence[str]
    descriptions: Mapping[str, str] = field(default_factory=dict)


def render(
    table: Table,
    verdict: Verdict,
    images: NDArray[np.uint8],
    truth: Labels,
    classes: Sequence[str],
    background: Background,
) -> str:
    """The page as text. ``images`` are the test images (n, C, H, W), ``truth`` their class numbers
    (n,).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = {
        "title": "did pretraining help?",
        "subtitle": background.subtitle,
        "sentences": sentences(table),
        "cards": _cards(table, verdict, classes),
        "sections": (
            SECTIONS
            if not background.curves
            else (*SECTIONS[:-1], ("training", "Training"), SECTIONS[-1])
        ),
        "draws": _draws(table, "linear"),
        "finetune_draws": _draws(table, "full"),
        "budgets": _budgets(table),
        "ladder": _ladder(table),
        "questions": _questions(table),
        "groups": _groups(table, background.descriptions),
        "short": any(row.undertrained for row in table.rows),
        "classes": len(classes),
        "small": images.shape[-1] < 64,
        "errors": errors_section(verdict, images, truth, classes),
        "trust": _trust(verdict),
        "data": {"facts": background.facts, "splits": background.splits},
        "curves": [_curve(curve) for curve in background.curves],
        "made": [
            {"name": name, "note": note, "rows": rows} for name, note, rows in background.made
        ],
        "notes": background.notes,
    }
    return environment.get_template("report.html.j2").render(page=page, swatch=charts.swatch) + "\n"


def _draws(table: Table, protocol: str) -> int:
    return max((row.draws for row in table.rows if row.protocol == protocol), default=1)


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"


def _cards(table: Table, verdict: Verdict, classes: Sequence[str]) -> list[dict[str, str]]:
    main = table.headlines()
    gain = max(main, key=lambda answer: answer.difference.value)
    spread = f"95 % interval {signed(gain.difference.low)} to {signed(gain.difference.high)}"
    return [
        {
            "name": "Test accuracy of the classifier",
            "value": percent(verdict.accuracy.value),
            "note": (
                f"95 % interval {_range(verdict.accuracy)} %, {len(verdict.predicted):,} images"
            ),
        },
        {
            "name": (
                f"Largest gain over the strongest control ({MODELS[gain.second.model].lower()})"
            ),
            "value": f"{signed(gain.difference.value)} points",
            "note": f"{labels_phrase(gain.budget)}; {spread}",
        },
        {
            "name": "Worst class",
            "value": percent(verdict.worst.value),
            "note": f"{classes[verdict.worst_class]}; 95 % interval {_range(verdict.worst)} %",
        },
        {
            "name": "Calibration error",
            "value": percent(verdict.calibration_error),
            "note": "mean gap between confidence and accuracy",
        },
    ]


def _budgets(table: Table) -> list[dict[str, str]]:
    images = {row.budget: row.images for row in table.rows}
    return [
        {
            "name": "All labels" if name == ALL else labels_phrase(name),
            "note": f"{images[name]:,} images",
        }
        for name in table.budgets
    ]


def _ladder(table: Table) -> dict[str, Any]:
    places = {name: place for place, name in enumerate(table.budgets)}
    images = {row.budget: row.images for row in table.rows}
    lines = []
    for model in table.models:
        if model not in LOOKS:
            continue
        colour, shape, dashed = LOOKS[model]
        found = [(name, table.best(model, name)) for name in table.budgets]
        rows = [(name, row, table.interval(row)) for name, row in found if row is not None]
        dots = [
            Point(
                places[name],
                value.value,
                value.low,
                value.high,
                f"{percent(value.value)} ({_range(value)}), {title(row.protocol)}",
            )
            for name, row, value in rows
        ]
        lines.append(Series(MODELS[model], colour, dots, shape, dashed))
    low = min(point.low or 0.0 for line in lines for point in line.points)
    high = max(point.high or 1.0 for line in lines for point in line.points)
    axes = Axes(
        "Test accuracy by labels per class",
        "labels per class",
        "test accuracy, %",
        [
            (place, f"all ({images[name]:,})" if name == ALL else name)
            for name, place in places.items()
        ],
        charts.even_ticks(low, high, percent=True),
        spread=0.28,
    )
    lines.sort(key=lambda line: -line.points[-1].y)
    return {
        "wide": charts.line_chart(lines, axes, charts.WIDE),
        "phone": charts.line_chart(lines, axes, charts.PHONE),
        "series": lines,
    }


QUESTIONS = {
    ("finetuned", "scratch"): (
        "What ships against from scratch",
        "same labels, steps and effort",
    ),
    ("pretrained", "pixels"): (
        "Pretrained against raw pixels",
        "both frozen, the better of kNN and linear",
    ),
    ("pretrained", "random"): ("Pretrained against untrained", "both frozen"),
    ("pretrained", "control"): (
        "Pretrained against the control",
        "instance classification, both frozen",
    ),
    ("pretrained", "start"): (
        "Pretrained against its start weights",
        "what own pretraining adds, both frozen",
    ),
    ("distilled", "pretrained"): (
        "Distilled against pretrained",
        "what the smaller network costs, both frozen",
    ),
    ("finetuned", "pixels"): (
        "What ships against raw pixels",
        "the whole pipeline against no learning",
    ),
}


def _questions(table: Table) -> list[dict[str, Any]]:
    answers = {
        (answer.first.model, answer.second.model, answer.budget): answer
        for answer in table.comparisons()
    }
    questions = []
    for pair in PAIRS:
        cells: list[dict[str, str] | None] = []
        for budget in table.budgets:
            answer = answers.get((*pair, budget))
            if answer is None:
                cells.append(None)
                continue
            difference = answer.difference
            kind = {"better": "better", "worse": "worse", "no difference": "same"}[answer.verdict]
            text = signed(difference.value) if kind != "same" else "no difference"
            inside = f"{signed(difference.low)} to {signed(difference.high)}"
            cells.append({"kind": kind, "text": text, "interval": inside})
        if any(cells):
            name, note = QUESTIONS[pair]
            questions.append({"name": name, "note": note, "cells": cells})
    return questions


def _groups(table: Table, descriptions: Mapping[str, str]) -> list[dict[str, Any]]:
    tied = {budget: table.tied_with_best(budget) for budget in table.budgets}
    groups = []
    for model in table.models:
        rows = []
        for protocol in table.protocols:
            found = {
                row.budget: row
                for row in table.rows
                if (row.model, row.protocol) == (model, protocol)
            }
            if not found:
                continue
            cells: list[dict[str, Any] | None] = []
            for budget in table.budgets:
                row = found.get(budget)
                if row is None:
                    cells.append(None)
                    continue
                value = table.interval(row)
                shown = {
                    "value": f"{100 * value.value:.1f}",
                    "interval": _range(value),
                    "chosen": (
                        row.chosen + (", fewer steps than its plateau" if row.undertrained else "")
                    ),
                }
                marks = {"tied": id(row) in tied[budget], "short": row.undertrained}
                cells.append({**shown, **marks})
            rows.append({"protocol": title(protocol), "cells": cells})
        groups.append({"name": MODELS[model], "note": descriptions.get(model, ""), "rows": rows})
    return groups


def _trust(verdict: Verdict) -> dict[str, Any]:
    bins = [
        (bin.low, bin.high, bin.confidence, bin.accuracy, bin.count) for bin in verdict.reliability
    ]
    looks = {
        "noise": ("#d55e00", "up"),
        "blur": ("#0072b2", "circle"),
        "contrast": ("#00795a", "square"),
    }
    clean = verdict.accuracy
    lines = []
    for name, values in verdict.corruptions.items():
        levels = [clean, *values]
        dots = [
            Point(
                level,
                value.value,
                value.low,
                value.high,
                f"{percent(value.value)} ({_range(value)})",
            )
            for level, value in enumerate(levels)
        ]
        lines.append(Series(name, looks[name][0], dots, looks[name][1]))
    low = min([point.low or 0.0 for line in lines for point in line.points], default=0.0)
    ticks = [(0, "clean"), (1, "mild"), (2, "medium"), (3, "strong")]
    axes = Axes(
        "Accuracy under corruption",
        "corruption",
        "test accuracy, %",
        ticks,
        charts.even_ticks(low, 1.0, True),
        spread=0.18,
    )
    mean = verdict.mean_corrupted
    return {
        "calibration": (
            f"confidence and accuracy differ by {percent(verdict.calibration_error)} on average"
        ),
        "reliability": charts.reliability_chart(bins),
        "robustness": (
            f"{percent(mean.value)} right on average, {points(verdict.corruption_loss)} against"
            " clean images"
        ),
        "corruption": {"svg": charts.line_chart(lines, axes), "series": lines},
    }


def _curve(curve: Curve) -> dict[str, Any]:
    xs = [point.x for line in curve.series for point in line.points]
    ys = [point.y for line in curve.series for point in line.points]
    across, down = charts.even_ticks(min(xs), max(xs)), charts.even_ticks(min(ys), max(ys))
    axes = Axes(
        curve.title,
        curve.x_title,
        curve.y_title,
        across,
        down,
        markers=max(len(line.points) for line in curve.series) <= 12,
    )
    return {
        "title": curve.title,
        "svg": charts.line_chart(curve.series, axes),
        "series": curve.series,
    }
