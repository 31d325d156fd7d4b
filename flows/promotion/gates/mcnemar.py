"""No significant loss against the champion: exact McNemar on the images only one of the two gets
right.
"""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict

SHARE = True
"""The threshold is a fraction, at most 1."""


def check(evidence: Evidence, threshold: float) -> Verdict:
    """Fails where the candidate loses more images than it gains and the p-value is below the
    threshold.
    """
    from stages.core.metrics.intervals import mcnemar

    if evidence.champion is None:
        return evidence.nothing_to_compare(f"p ≥ {threshold:.4g}")
    if (pairs := evidence.pairs) is None:
        return evidence.no_comparison(f"p ≥ {threshold:.4g}")
    ours, theirs = pairs.ours, pairs.theirs
    gained, lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    probability = mcnemar(ours, theirs)
    passed = gained >= lost or probability >= threshold
    reason = pairs.reason(
        "" if passed else f"{lost} images lost, {gained} gained: more than chance explains"
    )
    return Verdict(
        passed, f"p {probability:.4f}", f"p ≥ {threshold:.4g}", f"+{gained} −{lost}", reason
    )
