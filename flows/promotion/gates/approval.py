"""A person has approved the version: ``rootstock promote --approve NAME``."""

from __future__ import annotations

from flows.promotion.evidence import APPROVED, Evidence, Verdict


def check(evidence: Evidence, threshold: float) -> Verdict:
    """The approval is a tag of the version, so it holds for this very digest and no other."""
    who = evidence.candidate.tags.get(APPROVED)
    reason = (
        ""
        if who
        else f"rootstock promote --approve NAME approves version {evidence.candidate.number}"
    )
    return Verdict(bool(who), who or "nobody yet", "a name", reason=reason)
