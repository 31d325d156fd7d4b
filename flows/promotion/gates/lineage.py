"""Every artifact behind the candidate has a known origin, down to the source images, and is what
its hash says.
"""

from __future__ import annotations

from flows.lineage.trace import Chain
from flows.promotion.evidence import Evidence, Verdict


def check(evidence: Evidence, threshold: float) -> Verdict:
    """No hole in the chain; every artifact in reach is hashed again, and the weights answer as the
    evaluation says.
    """
    chain, wanted = evidence.chain, "complete, verified"
    runs = f"{len(chain.steps)} runs"
    if not chain.complete:
        reason = "; ".join(chain.holes) or "the chain does not reach source images"
        return Verdict(False, runs, wanted, reason=reason)
    if nameless := without_commit(chain):
        stages = " ".join(f"--force {stage}" for stage in nameless)
        reason = (
            f"no git commit is known of {', '.join(nameless)}: rootstock doctor says why, then"
            f" rootstock run {stages}"
        )
        return Verdict(False, runs, wanted, reason=reason)
    states = [check.state for check in evidence.checks]
    value = f"{runs}, {states.count('ok')} artifacts verified"
    wrong = next((check for check in evidence.checks if check.state == "differs"), None)
    if wrong:
        return Verdict(False, value, wanted, reason=f"{wrong.what} differs: {wrong.found}")
    far = states.count("unreachable")
    return Verdict(True, value, wanted, reason=f"{far} not in reach here" if far else "")


def without_commit(chain: Chain) -> list[str]:
    """Return the stages behind a version whose runs name no commit: the code that made their
    outputs is unknown.
    """
    steps = [*chain.steps.values(), *([chain.evaluation] if chain.evaluation else [])]
    return sorted({step.stage for step in steps if not step.has_commit})
