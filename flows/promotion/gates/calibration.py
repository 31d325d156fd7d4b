"""Expected calibration error is at most the threshold: confidence matches accuracy."""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict

SHARE = True
"""The threshold is a fraction, at most 1."""


def check(evidence: Evidence, threshold: float) -> Verdict:
    """Mean gap between confidence and accuracy over 15 bins of the test answers."""
    if evidence.answers is None:
        return evidence.no_answers(threshold)
    found = evidence.answers.calibration_error
    reason = "" if found <= threshold else f"{found - threshold:.4f} above the ceiling"
    return Verdict(found <= threshold, f"{found:.4f}", f"≤ {threshold:.4g}", reason=reason)
