"""From outcomes to findings: one sentence per failed expectation, one row per image at fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stages.core.data.manifest import Rows
from stages.validate.sheets import sheet_name
from stages.validate.suite import LABELLED, Outcome

SEVERITIES = ("critical", "warning", "info")
EXAMPLES = 3
NO_LABELS = (
    "none has; sizes, copies, near-copies, order and drift are checked, and labels in class folders"
    " would add label noise, balance, splits and a classifier"
)
FOR_ALL_SPLITS = 3
"""Distinct images a class must have to be in train, val and test."""
COLUMNS = ("severity", "check", "found", "id", "uri", "detail", "sheet")


@dataclass(frozen=True)
class Finding:
    """Something about the data a person should know: ``critical`` stops the pipeline."""

    severity: str
    check: str
    found: str
    uris: list[str]
    details: tuple[str, ...] = ()
    rows: Rows | None = None  # where the audit that found it named rows

    @property
    def sheet(self) -> str:
        """File name of its contact sheet."""
        return sheet_name(self.check)

    def line(self) -> str:
        """The finding as one line."""
        examples = ", ".join(self.uris[:EXAMPLES]) + (", …" if len(self.uris) > EXAMPLES else "")
        return (
            f"{self.severity}: expected: {self.check}; found:"
            f" {self.found}{': ' * bool(examples)}{examples}"
        )


def findings(outcomes: list[Outcome], facts: pd.DataFrame) -> list[Finding]:
    """What failed, gravest first, otherwise in the order of the suite."""
    failed = [_finding(outcome, facts) for outcome in outcomes if not outcome.passed]
    return sorted(failed, key=lambda finding: SEVERITIES.index(finding.severity))


def rows(found: list[Finding], facts: pd.DataFrame, sheets: set[str]) -> Iterator[tuple[Any, ...]]:
    """``findings.csv``: a row per finding and image, or one without an image where a finding is
    about none.
    """
    ids = facts.drop_duplicates("uri").set_index("uri")["id"]
    for finding in found:
        sheet = finding.sheet if finding.sheet in sheets else ""
        for number, uri in enumerate(finding.uris or [""]):
            content = ids.get(uri)
            name = content if isinstance(content, str) else ""
            detail = finding.details[number] if number < len(finding.details) else ""
            yield finding.severity, finding.check, finding.found, name, uri, detail, sheet


def images(finding: Finding, facts: pd.DataFrame) -> Rows:
    """Row numbers of the images of a finding, those to look at first in front."""
    if finding.rows is not None:
        return finding.rows
    return np.flatnonzero(facts["uri"].isin(finding.uris)).astype(np.int64)


def verdict(found: list[Finding], facts: pd.DataFrame, asked: int) -> dict[str, Any]:
    """``metrics/validate.json``: the same for the same data, whenever it was checked."""
    counts = {
        severity: sum(finding.severity == severity for finding in found) for severity in SEVERITIES
    }
    return {
        "passed": counts["critical"] == 0,
        "checks": asked,
        "images": len(facts),
        "quarantined": float(facts["quarantined"].mean()),
        **counts,
    }


def _rare(facts: pd.DataFrame, classes: set[str]) -> str:
    """What to do about classes that have too few images for every split."""
    counts = facts[facts["label"].isin(list(classes))].groupby("label")["id"].nunique()
    rare = counts[counts < FOR_ALL_SPLITS]
    if rare.empty:
        return ""
    named = ", ".join(f"{label!r} has {number}" for label, number in rare.head(EXAMPLES).items())
    return (
        f" ({named} distinct images: ingest.rare_classes: leave_out or merge, see"
        " ingest.min_images)"
    )


def _finding(outcome: Outcome, facts: pd.DataFrame) -> Finding:
    check, uris = outcome.check, outcome.uris
    if check.answer is not None:
        answer = check.answer
        named = facts["uri"].iloc[answer.rows].tolist()
        return Finding(
            check.severity, answer.expected, answer.found, named, answer.details, answer.rows
        )
    if check.arguments["column"] == "class_in_split":
        present = set(facts["class_in_split"].dropna())
        missing = [name for name in check.arguments["value_set"] if name not in present]
        found = f"no {', no '.join(missing[:10])}{f' and {len(missing) - 10} more' if len(missing) > 10 else ''}"  # noqa: E501
        if check.arguments["value_set"] == [LABELLED]:
            return Finding(check.severity, check.sentence, NO_LABELS, [])
        classes = {name.rpartition(" in ")[0] for name in missing}
        found += _rare(facts, classes)
        return Finding(
            check.severity,
            check.sentence,
            found,
            facts.loc[facts["label"].isin(classes), "uri"].tolist(),
        )
    if check.arguments["column"] == "quarantined":
        uris = facts.loc[facts["quarantined"] == 1, "uri"].tolist()
        return Finding(
            check.severity,
            check.sentence,
            f"{len(uris)} of {len(facts)} ({len(uris) / len(facts):.1%})",
            uris,
        )
    found = f"not so for {len(uris):,} images" if uris else str(outcome.observed)
    return Finding(check.severity, check.sentence, found, uris)
