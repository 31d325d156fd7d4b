"""What changed between two dataset versions: which images, how many by class and source, and
whether the pixels drifted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from jinja2 import Environment
from numpy.typing import NDArray

from flows.data import contact_sheet as sheets
from flows.data.versions import DataVersion
from stages.core import paths
from stages.core.errors import DataError
from stages.core.io import atomic_file, write_json, write_text
from stages.core.metrics.drift import FEWEST, Drift, detect_drift, image_statistics
from stages.core.random import numpy_generator
from stages.core.sections import Monitor

KINDS = {
    "added": "only in the newer version",
    "removed": "only in the older version",
    "moved": "in another split",
    "relabelled": "with another label",
    "re-kept": "dropped by curation before and kept now, or the other way round",
    "broken": "readable before, quarantined now",
    "recovered": "quarantined before, readable now",
}
REDRAWN = (
    "Some images moved because their class grew or shrank: its fractions of val, test and"
    " labelled images (ingest.*_fraction) are exact, so the few at a border are drawn again. An"
    " image that moves from train to the unlabelled pool (none) loses its label."
)
SAMPLE = 4000
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ first }} → {{ second }}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2429}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .8rem;border-bottom:1px solid #dde3e6;text-align:left}
img{max-width:100%;image-rendering:pixelated}</style>
<h1>{{ first }} → {{ second }}</h1>
<p>{{ counts }}</p>{% if note %}<p>{{ note }}</p>{% endif %}<p>{{ drift }}</p>
{% for kind, about in kinds.items() if tables[kind]|length %}
<h2>{{ tables[kind]|length }} images {{ about }}</h2>
<img alt="{{ kind }}" src="data:image/png;base64,{{ sheets[kind] }}">
{% if tables[kind]|length > most %}<p>{{ most }} of them, drawn at random.</p>{% endif %}
<table><tr><th>class</th><th>source</th><th>was</th><th>is</th><th>images</th></tr>
{% for row in summaries[kind] %}<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endfor %}
</html>
"""  # noqa: E501


@dataclass(frozen=True)
class Difference:
    """The changed images by kind (columns id, uri, label, source, was, is, row, side) and the drift
    of the pixels.
    """

    first: str
    second: str
    tables: Mapping[str, pd.DataFrame]
    drift: Drift | None

    @property
    def counts(self) -> str:
        """One line."""
        return ", ".join(f"{len(table):,} {kind}" for kind, table in self.tables.items())

    @property
    def note(self) -> str:
        """Why images moved that nobody touched; empty where none did."""
        resized = len(self.tables["added"]) or len(self.tables["removed"])
        return REDRAWN if resized and len(self.tables["moved"]) else ""

    @property
    def sentence(self) -> str:
        """What the drift tests say, or why they say nothing."""
        return (
            self.drift.sentence
            if self.drift
            else f"Drift was not tested: it needs {FEWEST} readable images in each version"
        )


def compare(old: DataVersion, new: DataVersion, monitor: Monitor, seed: int) -> Difference:
    """Images are matched by content; broken ones, which have none, by place."""
    before, after = _by_content(old.manifest.frame), _by_content(new.manifest.frame)
    both = before.index.intersection(after.index)
    a, b = before.loc[both], after.loc[both]
    tables = {
        "added": _table(after.loc[after.index.difference(before.index)], "", "new", "new"),
        "removed": _table(before.loc[before.index.difference(after.index)], "old", "", "old"),
        "moved": _changed(a, b, "split"),
        "relabelled": _changed(a, b, "label"),
        "re-kept": (
            _changed(a, b, "keep")
            if {"keep"} <= set(a) & set(b)
            else _table(b.iloc[:0], "", "", "new")
        ),
        "broken": _by_place(old.manifest.frame, new.manifest.frame, "quarantined"),
        "recovered": _by_place(old.manifest.frame, new.manifest.frame, "ok"),
    }
    return Difference(old.name, new.name, tables, _drift(old, new, monitor, seed))


def write(difference: Difference, old: DataVersion, new: DataVersion, root: Path) -> Path:
    """A page with counts and contact sheets, changes.csv and drift.json; returns the page."""
    folder = root / paths.REPORTS / "data" / f"{difference.first}..{difference.second}"
    page = Environment(autoescape=True).from_string(PAGE).render(
        first=difference.first,
        second=difference.second,
        counts=difference.counts,
        note=difference.note,
        drift=difference.sentence,
        kinds=KINDS,
        most=sheets.MOST,
        tables=difference.tables,
        sheets={kind: _sheet(table, old, new) for kind, table in difference.tables.items()},
        summaries={kind: summary(table) for kind, table in difference.tables.items()},
    )  # fmt: skip
    everything = pd.concat([table.assign(change=kind) for kind, table in difference.tables.items()])
    columns = ["change", "id", "uri", "label", "source", "was", "is"]
    with atomic_file(folder / "changes.csv") as temporary:
        everything[columns].to_csv(temporary, index=False)
    if difference.drift:
        write_json(folder / "drift.json", difference.drift.as_dict())
    write_text(folder / "index.html", page)
    return folder / "index.html"


def summary(table: pd.DataFrame) -> list[list[str]]:
    """Counts by class, source and what changed into what."""
    grouped = table.groupby(["label", "source", "was", "is"], sort=True).size()
    return [
        [*(str(part) for part in cast(tuple[str, ...], key)), f"{count:,}"]
        for key, count in grouped.items()
    ]


def _by_content(frame: pd.DataFrame) -> pd.DataFrame:
    """Readable images by id, with their row in the pixel store. Of several copies the one that
    speaks for the image: the one that is kept, or else has a label, or else the first.
    """
    readable = frame[frame["status"] == "ok"].assign(row=np.flatnonzero(frame["status"] == "ok"))
    dropped = ~readable["keep"].astype(bool) if "keep" in readable else False
    ordered = readable.assign(dropped=dropped, bare=readable["label"].isna()).sort_values(
        ["id", "dropped", "bare", "uri"]
    )
    return ordered.drop_duplicates("id").set_index("id", drop=False)


def _changed(before: pd.DataFrame, after: pd.DataFrame, column: str) -> pd.DataFrame:
    was, now = (
        before[column].astype(object).fillna("none").astype(str),
        after[column].astype(object).fillna("none").astype(str),
    )
    mask = (was != now).to_numpy(bool)
    return _table(after[mask], was[mask], now[mask], "new")


def _by_place(before: pd.DataFrame, after: pd.DataFrame, status: str) -> pd.DataFrame:
    """Images at the same place whose status became ``status``, as they were while they could be
    read.
    """
    both = before.assign(row=range(len(before))).merge(
        after.assign(row=range(len(after))), on=["source", "uri"], suffixes=("_was", "")
    )
    found = both[(both["status"] == status) & (both["status_was"] != status)]
    if status == "ok":
        return _table(found, found["status_was"], found["status"], "new")
    return _table(
        found.assign(row=found["row_was"], label=found["label_was"]),
        found["status_was"],
        found["status"],
        "old",
    )


def _table(
    frame: pd.DataFrame, was: pd.Series | str, now: pd.Series | str, side: str
) -> pd.DataFrame:
    columns = frame[["id", "uri", "label", "source", "row"]].copy()
    columns["label"] = columns["label"].astype(object).fillna("unlabelled")
    columns["was"] = was if isinstance(was, str) else was.to_numpy()
    columns["is"] = now if isinstance(now, str) else now.to_numpy()
    columns["side"] = side
    return columns.reset_index(drop=True)


def _drift(old: DataVersion, new: DataVersion, monitor: Monitor, seed: int) -> Drift | None:
    (before, rows), (after, others) = (_sample(old, seed), _sample(new, seed))
    if len(rows) < FEWEST or len(others) < FEWEST:
        return None
    grey = before.shape[1] != after.shape[1]
    (first, names), (second, _) = image_statistics(before, grey), image_statistics(after, grey)
    sizes = ("width", "height")
    first = np.hstack([first, old.manifest.frame.loc[rows, list(sizes)].to_numpy(np.float32)])
    second = np.hstack([second, new.manifest.frame.loc[others, list(sizes)].to_numpy(np.float32)])
    try:
        return detect_drift(
            first,
            second,
            alpha=monitor.alpha,
            threshold=monitor.threshold,
            seed=seed,
            names=[*names, *sizes],
        )
    except DataError:
        return None


def _sample(version: DataVersion, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rows = version.manifest.rows(version.manifest.ok)
    if len(rows) > SAMPLE:
        rows = np.sort(
            numpy_generator(seed, "diff", version.digest(paths.POOL)).choice(
                rows, SAMPLE, replace=False
            )
        )
    return version.pixels.array(rows), rows


def _sheet(table: pd.DataFrame, old: DataVersion, new: DataVersion) -> str:
    """Some of the images as a picture; nothing where there is none."""
    if not len(table):
        return ""
    store = (old if table["side"].iloc[0] == "old" else new).pixels
    rows = table["row"].to_numpy(np.int64)
    return sheets.contact_sheet(store.array(rows[sheets.chosen(len(rows))]))
