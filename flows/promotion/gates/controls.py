"""Not worse than any control on the same test images: labels alone, an untrained encoder, raw
pixels.
"""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict

CONTROLS = {
    "scratch": "the same network trained from scratch",
    "random": "a linear probe on an untrained encoder",
    "pixels": "a linear probe on raw pixels",
}


def check(evidence: Evidence, threshold: float) -> Verdict:
    """Compare image by image with every control that the evaluation trained on the same labels
    (paired bootstrap).

    The classifier passes unless it is worse than a control beyond the 95 % interval. Against raw
    pixels the measured difference alone must not be below zero.
    """
    from stages.core.metrics.intervals import paired_bootstrap

    answers = evidence.answers
    if answers is None:
        return evidence.no_answers(threshold)
    rights = {name: answers.right(name) for name in CONTROLS}
    known = {name: right for name, right in rights.items() if right is not None}
    if not known:
        reason = "the evaluation kept no controls: rootstock run --force evaluate"
        return Verdict(False, "unknown", "no control ahead", reason=reason)
    strongest = max(known, key=lambda name: float(known[name].mean()))
    ahead = []
    for name, right in known.items():
        found = paired_bootstrap(
            answers.correct, right, resamples=evidence.resamples, seed=evidence.seed
        )
        if found.high < 0 or (name == "pixels" and found.value < 0):
            ahead.append(f"{CONTROLS[name]} is ahead by {-found.value:.4f}")
        if name == strongest:
            value, interval = f"{found.value:+.4f}", f"{found.low:+.4f} … {found.high:+.4f}"
    reason = "; ".join(ahead) or f"strongest control: {CONTROLS[strongest]}"
    return Verdict(not ahead, value, "no control ahead", interval, reason)
