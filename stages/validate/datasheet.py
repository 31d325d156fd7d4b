"""The datasheet: what a person or a registry should know of a data version, as one Markdown page.

After "Datasheets for Datasets" (2018), as far as the data answer for themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stages.validate.audit import Answer, Pool
from stages.validate.findings import Finding
from stages.validate.intrinsic_dimension import Sharpness, dimensions, sharpness

SPLITS = ("train", "val", "test", "none")


@dataclass(frozen=True)
class Complexity:
    """How many dimensions the images fill, by two estimators, and how sharply labels change between
    them.
    """

    two_nn: float
    likelihood: float
    images: int
    sharpness: Sharpness | None

    @classmethod
    def of(cls, pool: Pool) -> Complexity:
        """Measure a sample of the distinct images."""
        return cls(*dimensions(pool), sharpness(pool))

    def metrics(self) -> dict[str, float]:
        """For the metrics file."""
        sharp = self.sharpness.value if self.sharpness else 0.0
        return {"intrinsic_dimension": round(self.two_nn, 2), "label_sharpness": round(sharp, 3)}


def datasheet(
    pool: Pool,
    complexity: Complexity,
    found: Sequence[Finding],
    answers: Sequence[tuple[str, str, Answer]],
    sheets: set[str],
) -> str:
    """The page; the same for the same data, parameters and seed."""
    frame = pool.manifest.frame
    readable = frame[pool.manifest.ok]
    count, channels, side, _ = pool.store.shape
    unreadable = len(frame) - len(readable)
    parts = [
        "# Datasheet",
        (
            f"{count:,} images, {len(pool.distinct):,} of them distinct, {unreadable:,}"
            f" quarantined; {len(pool.manifest.classes)} classes; stored as {side} x {side} pixels,"
            f" {channels} channel{'s' * (channels > 1)}."
        ),
        "## Complexity",
        _complexity(complexity),
        "## Sources",
        _table(
            ["source", "images", "quarantined", "role", "licence", "attribution", "sides"],
            _sources(frame),
        ),
        "## Classes",
        _counts(readable, "label", "no image has a label"),
        "## Groups",
        _counts(readable, "group", "the sources name no groups"),
        "## Audits",
        _table(
            ["audit", "expected", "passed", "found"],
            ((name, a.expected, _yes(a.passed), a.found) for name, _, a in answers),
        ),
        "## Findings",
        "\n\n".join(_finding(finding, sheets) for finding in found) or "None.",
    ]
    return "\n\n".join(parts) + "\n"


def _complexity(complexity: Complexity) -> str:
    lines = [
        f"- intrinsic dimension {complexity.two_nn:.1f} (TwoNN), {complexity.likelihood:.1f}"
        f" (likelihood of 20 neighbours), of the pixels of {complexity.images:,} images; it grows"
        " with the number of images looked at"
    ]
    if complexity.sharpness is not None:
        one, two = complexity.sharpness.pair
        lines.append(
            f"- label sharpness K_F {complexity.sharpness.value:.3f}: {one} and {two} differ least"
            " for two classes"
        )
    return "\n".join(lines)


def _sources(frame: pd.DataFrame) -> Iterable[Sequence[Any]]:
    for name, part in frame.groupby("source", sort=True):
        ok = part[part["status"] == "ok"]
        sides = (
            f"{ok[['width', 'height']].min().min()} to {ok[['width', 'height']].max().max()}"
            if len(ok)
            else ""
        )
        roles = ", ".join(
            f"{role} {count:,}" for role, count in part["role"].value_counts().sort_index().items()
        )
        yield (
            name,
            len(part),
            len(part) - len(ok),
            roles,
            _one(part["license"]),
            _one(part["attribution"]),
            sides,
        )


def _counts(readable: pd.DataFrame, column: str, none: str) -> str:
    known = readable[readable[column].notna()]
    if known.empty:
        return f"None: {none}."
    table = pd.crosstab(known[column], known["split"])
    splits = [split for split in SPLITS if split in table.columns]
    rows = (
        [name, *(int(line[split]) for split in splits), int(line.sum())]
        for name, line in table.iterrows()
    )
    return _table([column, *splits, "all"], rows)


def _finding(finding: Finding, sheets: set[str]) -> str:
    picture = f"\n\n![{finding.check}]({finding.sheet})" if finding.sheet in sheets else ""
    return f"**{finding.severity}**: expected: {finding.check}; found: {finding.found}{picture}"


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _one(values: pd.Series) -> str:
    return ", ".join(sorted(values.dropna().unique())) or "not given"


def _yes(passed: bool) -> str:
    return "yes" if passed else "**no**"
