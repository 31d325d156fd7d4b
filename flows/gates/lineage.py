"""Every artifact behind the candidate has a known origin, down to the source images."""

from __future__ import annotations

from flows.evidence import Evidence, Verdict


def check(evidence: Evidence, threshold: float) -> Verdict:
    """No hole in the chain, and every input is byte for byte what the run above put out."""
    chain = evidence.chain
    reason = "" if chain.complete else "; ".join(chain.holes) or "the chain does not reach source images"
    return Verdict(chain.complete, f"{len(chain.steps)} runs", "complete", reason=reason)
