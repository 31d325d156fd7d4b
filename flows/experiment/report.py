"""What an experiment leaves to read: table.csv, effects.json and a page that needs nothing else."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from flows.experiment.analysis import Analysis, text
from flows.experiment.design import SEED, show
from flows.experiment.effects import Estimate
from flows.experiment.state import ExperimentState
from stages.core.io import canonical_json, write_csv, write_json, write_text

MOST_ROWS = 8
"""Levels of a number that are listed; more are drawn over an axis of their own."""
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Experiment {{ name }}</title>
<style>
 body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2429}
 .say{font-size:1.25rem;border-left:4px solid #4c9f70;padding:.5rem 1rem;background:#f2f7f4}
 table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1rem 0}
 th,td{padding:.25rem .75rem;text-align:left;border-bottom:1px solid #dde3e6} th{font-weight:600} .bad{color:#b03a2e}
 svg{max-width:100%;height:auto}
</style>
<h1>Experiment {{ name }}</h1>
<p class="say">{{ sentence }}</p>
<p>{{ cells }} cells, {{ finished }} finished, {{ failed|length }} failed. Score: {{ metric }}. Code: {{ code }}.</p>
<h2>What explains the differences</h2>
<table><tr><th>factor</th><th>share of variance</th></tr>
{% for key, share in shares.items() %}<tr><td>{{ key }}</td><td>{{ '%.1f'|format(100 * share) }} %</td></tr>{% endfor %}</table>
<h2>Factors</h2>
<p>Mean score at each level over everything else, with its 95 % interval; all on one scale.</p>
{% for plot in plots %}{{ plot }}{% endfor %}
<h2>Configurations</h2>
<table><tr>{% for key in keys %}<th>{{ key }}</th>{% endfor %}<th>{{ metric }}</th><th>seeds</th></tr>
{% for row in rows %}<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% if failed %}<h2>Failed cells</h2>
<table>{% for label, error in failed %}
<tr><td>{{ label }}</td><td class="bad">{{ error }}</td></tr>{% endfor %}</table>{% endif %}
<p>Intervals are 95 %, from the spread between seeds. Every cell: table.csv.</p>
</html>
"""  # noqa: E501


def write(analysis: Analysis, board: ExperimentState) -> Path:
    """Write the three files; returns the page."""
    folder, spec = analysis.spec.report, analysis.spec
    keys = list(dict.fromkeys(key for cell in analysis.cells for key in cell.configuration))
    _table(folder / "table.csv", analysis, keys)
    write_json(folder / "effects.json", _effects(analysis))
    rows = [
        [*(show(result.configuration.get(key)) for key in keys), text(mean), mean.count]
        for result, mean in analysis.configurations()
    ]
    page = Environment(autoescape=True).from_string(PAGE).render(
        name=spec.name,
        sentence=analysis.sentence,
        cells=len(analysis.cells),
        finished=len(analysis.outcomes) - len(analysis.failed),
        failed=[(cell.label, result.error) for cell, result in analysis.failed],
        metric=spec.metric,
        code=spec.code[:10],
        shares=analysis.shares,
        plots=_plots(analysis),
        keys=keys,
        rows=rows,
    )  # fmt: skip
    write_text(folder / "index.html", page)
    return folder / "index.html"


def _table(path: Path, analysis: Analysis, keys: Sequence[str]) -> None:
    scores = {(result.key, result.seed): result.score for result in analysis.results}
    rows: list[list[Any]] = []
    for cell in analysis.cells:
        found = analysis.outcomes.get(cell.identity)
        mine = scores.get((canonical_json(cell.configuration), cell.seed))
        own = found.score if found else None
        state = found.state if found else "open"
        levels = [show(cell.configuration.get(key)) for key in keys]
        rows.append(
            [
                *levels,
                cell.seed,
                state,
                _number(mine),
                _number(own),
                found.run if found else "",
                found.error if found else "",
            ]
        )
    write_csv(path, [*keys, SEED, "state", "score", "own score", "run", "error"], rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _effects(analysis: Analysis) -> dict[str, Any]:
    found = analysis.verdict
    return {
        "sentence": analysis.sentence,
        "shares": dict(analysis.shares),
        "effects": {
            key: {level: _interval(mean) for level, mean in levels.items()}
            for key, levels in analysis.effects.items()
        },
        "verdict": (
            {
                "best": found.best,
                "other": found.other,
                "real": found.real,
                **_interval(found.difference),
            }
            if found
            else None
        ),
    }


def _interval(found: Estimate) -> dict[str, float | None]:
    """JSON has no infinity: an unknown bound is null."""
    bounds = {"value": found.value, "low": found.low, "high": found.high}
    return {key: value if math.isfinite(value) else None for key, value in bounds.items()}


def _plots(analysis: Analysis) -> list[Any]:
    """One drawing per factor, all on the same scale, so that a factor that does little looks it."""
    found = [one for levels in analysis.effects.values() for one in levels.values()]
    ends = [end for one in found for end in (one.value, one.low, one.high) if math.isfinite(end)]
    margin = 0.05 * (max(ends) - min(ends)) or 0.01 if ends else 0.0
    scale = (min(ends) - margin, max(ends) + margin) if ends else (0.0, 1.0)
    widest = max(
        (len(level) for levels in analysis.effects.values() for level in levels), default=0
    )
    return [
        _plot(key, levels, analysis.spec.metric, scale, widest)
        for key, levels in analysis.effects.items()
    ]


def _plot(
    key: str, levels: Mapping[str, Estimate], metric: str, scale: tuple[float, float], widest: int
) -> Any:
    """Means with intervals as inline SVG: one row per level, or a point per value where a number
    has many.
    """
    import matplotlib
    from markupsafe import Markup
    from matplotlib.figure import Figure

    numbers = {level: number for level in levels if (number := _as_number(level)) is not None}
    numeric = len(numbers) == len(levels)
    ordered = (
        sorted(levels.items(), key=lambda item: numbers[item[0]])
        if numeric
        else list(levels.items())
    )
    curve = numeric and len(levels) > MOST_ROWS
    height = 3.2 if curve else 0.8 + 0.36 * len(levels)
    figure = Figure(figsize=(8, height))
    left = min(0.4, 0.04 + 0.0105 * widest)
    figure.subplots_adjust(left=left, right=0.97, bottom=0.46 / height, top=1 - 0.3 / height)
    axes = figure.add_subplot()
    for place, (level, mean) in enumerate(ordered):
        at = numbers[level] if curve else place
        if math.isfinite(mean.low):
            ends = ([at, at], [mean.low, mean.high]) if curve else ([mean.low, mean.high], [at, at])
            axes.plot(*ends, color="#7aa6c2", linewidth=4, solid_capstyle="butt")
        axes.plot(*([at], [mean.value]) if curve else ([mean.value], [at]), "o", color="#1c2429")
    if curve:
        axes.set_xscale(
            "log"
            if min(numbers.values()) > 0 and max(numbers.values()) > 10 * min(numbers.values())
            else "linear"
        )
        axes.set(xlabel=key, ylabel=metric, ylim=scale)
    else:
        axes.set_yticks(range(len(levels)), [level for level, _ in ordered])
        axes.set(xlabel=metric, xlim=scale, ylim=(len(levels) - 0.4, -0.6))
        axes.grid(axis="x", color="#dde3e6", linewidth=0.6)
        axes.set_axisbelow(True)
    axes.set_title(key, loc="left", fontsize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with (
        matplotlib.rc_context({"svg.hashsalt": "rootstock", "svg.fonttype": "none"}),
        io.StringIO() as drawing,
    ):
        figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
        drawn = drawing.getvalue()
    return Markup(drawn[drawn.index("<svg") :])


def _as_number(level: str) -> float | None:
    try:
        return float(level)
    except ValueError:
        return None
