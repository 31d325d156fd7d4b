"""Of the test images the champion gets right, the candidate still gets at least this share
right.
"""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict

SHARE = True
"""The threshold is a fraction, at most 1."""


def check(evidence: Evidence, threshold: float) -> Verdict:
    """What users have come to rely on is not traded for gains elsewhere."""
    from stages.core.metrics.intervals import wilson_interval

    if evidence.champion is None:
        return evidence.nothing_to_compare(f"{threshold:.4g}")
    if (pairs := evidence.pairs) is None:
        return evidence.no_comparison(f"{threshold:.4g}")
    ours, theirs = pairs.ours, pairs.theirs
    found = wilson_interval(int((ours & theirs).sum()), int(theirs.sum()))
    lost = int((~ours & theirs).sum())
    reason = pairs.reason(
        "" if found.value >= threshold else f"{lost} images the champion knows are lost"
    )
    return Verdict(
        found.value >= threshold,
        f"{found.value:.4f}",
        f"{threshold:.4g}",
        f"{found.low:.4f} … {found.high:.4f}",
        reason,
    )
