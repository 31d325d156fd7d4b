"""Test accuracy is at least the threshold."""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict

SHARE = True
"""The threshold is a fraction, at most 1."""


def check(evidence: Evidence, threshold: float) -> Verdict:
    """The floor holds for the measured accuracy; the interval is shown beside it."""
    from stages.core.metrics.intervals import bootstrap_interval

    answers = evidence.answers
    if answers is None:
        return evidence.no_answers(threshold)
    found = bootstrap_interval(answers.correct, evidence.resamples, evidence.seed)
    reason = "" if found.value >= threshold else f"{threshold - found.value:.4f} below the floor"
    return Verdict(
        found.value >= threshold,
        f"{found.value:.4f}",
        f"{threshold:.4g}",
        f"{found.low:.4f} … {found.high:.4f}",
        reason,
    )
