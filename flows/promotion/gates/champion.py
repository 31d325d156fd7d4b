"""Not worse than the champion on the same test images, by more than the threshold (paired
bootstrap).
"""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict

SHARE = True
"""The threshold is a fraction, at most 1."""


def check(evidence: Evidence, threshold: float) -> Verdict:
    """Non-inferiority: the lower end of the interval of the difference in accuracy stays above
    minus the margin.
    """
    from stages.core.metrics.intervals import paired_bootstrap

    if evidence.champion is None:
        return evidence.nothing_to_compare(f"-{threshold:.4g}")
    if (pairs := evidence.pairs) is None:
        return evidence.no_comparison(f"> -{threshold:.4g}")
    found = paired_bootstrap(
        pairs.ours, pairs.theirs, resamples=evidence.resamples, seed=evidence.seed
    )
    passed = found.low >= -threshold
    reason = pairs.reason(
        "" if passed else f"it may be worse by {-found.low:.4f}; {threshold:.4g} is allowed"
    )
    return Verdict(
        passed,
        f"{found.value:+.4f}",
        f"> -{threshold:.4g}",
        f"{found.low:+.4f} … {found.high:+.4f}",
        reason,
    )
