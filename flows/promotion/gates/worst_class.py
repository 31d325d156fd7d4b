"""Accuracy on the worst class is at least the threshold."""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict, worst

SHARE = True
"""The threshold is a fraction, at most 1."""


def check(evidence: Evidence, threshold: float) -> Verdict:
    """The share right of the worst class, with its Wilson interval."""
    if evidence.answers is None:
        return evidence.no_answers(threshold)
    return worst(evidence.answers.correct, evidence.answers.labels, "class", threshold)
