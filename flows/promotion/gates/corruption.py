"""Accuracy on blurred, noisy and faded test images is at least the threshold."""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict

SHARE = True
"""The threshold is a fraction, at most 1."""


def check(evidence: Evidence, threshold: float) -> Verdict:
    """The mean over every corruption and strength that evaluate tried, with an interval over
    images.
    """
    from stages.core.metrics.intervals import bootstrap_interval

    if evidence.answers is None:
        return evidence.no_answers(threshold)
    correct = evidence.answers.corrupted
    if correct is None:
        return Verdict(
            False,
            "unknown",
            f"{threshold:.4g}",
            reason="the evaluation tried no corruptions: rootstock run --force evaluate",
        )
    found = bootstrap_interval(correct.mean(axis=1), evidence.resamples, evidence.seed)
    reason = "" if found.value >= threshold else f"{threshold - found.value:.4f} below the floor"
    return Verdict(
        found.value >= threshold,
        f"{found.value:.4f}",
        f"{threshold:.4g}",
        f"{found.low:.4f} … {found.high:.4f}",
        reason,
    )
