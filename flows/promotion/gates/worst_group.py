"""Accuracy on the worst group of images is at least the threshold."""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict, worst

SHARE = True
"""The threshold is a fraction, at most 1."""


def check(evidence: Evidence, threshold: float) -> Verdict:
    """The share right of the worst group of the manifest, with its Wilson interval."""
    if evidence.answers is None:
        return evidence.no_answers(threshold)
    groups = evidence.answers.groups
    if groups is None:
        return Verdict(None, "no groups", f"{threshold:.4g}", reason="the manifest names no groups")
    return worst(evidence.answers.correct, groups, "group", threshold)
