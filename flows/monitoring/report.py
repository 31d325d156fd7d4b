"""What a drift check leaves to read: ``reports/drift``, the numbers and a page that stands
alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.core import paths
from stages.core.io import write_json, write_text
from stages.core.metrics.drift import Drift

FOLDER = paths.REPORTS / "drift"
MOST_FEATURES = 20
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Drift: {{ 'alarm' if found.alarm else 'quiet' }}</title>
<style>
 body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2429}
 .say{font-size:1.25rem;border-left:4px solid #4c9f70;padding:.5rem 1rem;background:#f2f7f4}
 .alarm{border-color:#b03a2e;background:#fbf2f1}
 table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1rem 0}
 th,td{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #dde3e6}
 img{max-width:100%;image-rendering:pixelated} meter{width:10rem}
</style>
<h1>{{ 'Alarm: ' + found.reasons|join(' and ') if found.alarm else 'Quiet' }}</h1>
<p class="say{{ ' alarm' if found.alarm }}">{{ found.sentence }}</p>
<table>
<tr><th>question</th><th>found</th><th>alarm</th></tr>
<tr><td>Do new images keep to themselves among their nearest neighbours?</td>
<td>{{ '%+.3f'|format(drift.neighbours.excess) }} over chance, p = {{ '%.2g'|format(drift.neighbours.p_value) }}</td>
<td>from {{ drift.threshold }} with p ≤ {{ drift.alpha / 2 }}</td></tr>
<tr><td>Which features are distributed otherwise?</td>
<td>{{ drift.drifting_features|length }} of {{ drift.features|length }}</td>
<td>one from {{ drift.threshold }} with p ≤ {{ drift.alpha / 2 }}</td></tr>
<tr><td>How many images are unlike any in training?</td>
<td>{{ '%.1f'|format(100 * found.unknown) }} %</td><td>significantly more than monitor.max_unknown</td></tr>
<tr><td>How many could not be read?</td><td>{{ found.unreadable }}</td><td></td></tr>
</table>
{% if sheet %}<h2>{{ strange }} images unlike any in training</h2>
<img alt="images unlike any in training" src="data:image/png;base64,{{ sheet }}">{% endif %}
<h2>Features that changed most</h2>
<p>The distance is the largest gap of the two distribution functions, from 0 (alike) to 1 (nothing in common).</p>
<table><tr><th>feature</th><th>distance</th><th></th><th>p, corrected for {{ drift.features|length }} features</th></tr>
{% for one in features %}<tr><td>{{ one.feature }}</td><td>{{ '%.3f'|format(one.distance) }}</td>
<td><meter max="1" value="{{ one.distance }}"></meter></td><td>{{ '%.2g'|format(one.p_value) }}</td></tr>
{% endfor %}</table>
</html>
"""  # noqa: E501


@dataclass(frozen=True)
class DriftCheck:
    """What a check found, and what it says."""

    drift: Drift
    unknown: float
    unreadable: int
    champion: str
    alarm: bool
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For people and for the state of the Prefect run."""
        word = f"ALARM ({', '.join(self.reasons)})" if self.alarm else "quiet"
        return (
            f"{word}: {self.drift.sentence}; {100 * self.unknown:.1f} % unlike anything in"
            f" training; {self.champion}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "alarm": self.alarm,
            "reasons": list(self.reasons),
            "champion": self.champion,
            "drift": self.drift.as_dict(),
            "unknown": self.unknown,
            "unreadable": self.unreadable,
            "sentence": self.sentence,
        }


def report(found: DriftCheck, root: Path, strange: NDArray[np.uint8] | None = None) -> Path:
    """``reports/drift``: the numbers, and a page with some of the ``strange`` images (n, C, H, W),
    unlike any in training.
    """
    from jinja2 import Environment

    from flows.data.contact_sheet import contact_sheet

    write_json(root / FOLDER / "drift.json", found.as_dict())
    drift = found.drift
    page = Environment(autoescape=True).from_string(PAGE).render(
        found=found,
        drift=drift,
        features=drift.features[:MOST_FEATURES],
        strange=0 if strange is None else len(strange),
        sheet=contact_sheet(strange) if strange is not None and len(strange) else "",
    )  # fmt: skip
    write_text(root / FOLDER / "index.html", page)
    return root / FOLDER / "index.html"
