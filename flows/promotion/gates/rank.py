"""Representation rank (RankMe) behind the candidate is at least this share of the champion's: no
collapse slips through.
"""

from __future__ import annotations

from dataclasses import replace

from flows.promotion.evidence import Evidence, Verdict


def check(evidence: Evidence, threshold: float) -> Verdict:
    """Compares the pretraining runs' own RankMe, which the metrics file holds."""
    ours, theirs = (_rank(version) for version in (evidence.chain, evidence.champions_chain))
    if ours is None:
        return Verdict(
            False, "unknown", f"{threshold:.4g}", reason="no pretrain run behind it logged a RankMe"
        )
    if theirs is None:
        wanted = f"≥ {threshold:.4g} × champion"
        if evidence.champion is None:
            return replace(evidence.nothing_to_compare(wanted), value=f"{ours:.1f}")
        return Verdict(
            None,
            f"{ours:.1f}",
            wanted,
            reason="no pretrain run behind the champion logged a RankMe",
        )
    passed = ours >= threshold * theirs
    reason = "" if passed else f"the champion has {theirs:.1f}"
    return Verdict(passed, f"{ours:.1f}", f"≥ {threshold * theirs:.1f}", reason=reason)


def _rank(chain: object) -> float | None:
    from flows.lineage.trace import Chain

    if not isinstance(chain, Chain):
        return None
    metrics = {
        key: value
        for step in chain.steps.values()
        if step.stage == "pretrain"
        for key, value in step.metrics.items()
    }
    names = sorted(
        (key for key in metrics if "rankme" in key.lower()), key=lambda key: (key.count("."), key)
    )
    return metrics[names[0]] if names else None
