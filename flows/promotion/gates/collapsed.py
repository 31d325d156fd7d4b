"""The encoder has learned more than raw pixels show: its kNN accuracy is not below theirs."""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict


def check(evidence: Evidence, threshold: float) -> Verdict:
    """Compare kNN on the encoder's features with kNN on raw pixels, image by image (paired
    bootstrap).

    A classifier trained from the labels alone has no encoder to judge.
    """
    from stages.core.metrics.intervals import paired_bootstrap

    answers = evidence.answers
    if answers is None:
        return evidence.no_answers(threshold)
    if answers.method == "scratch":
        return Verdict(None, "no encoder", "≥ raw pixels", reason="trained from the labels alone")
    ours, pixels = answers.right("encoder_knn"), answers.right("pixels_knn")
    if ours is None or pixels is None:
        reason = "the evaluation kept no kNN: rootstock run --force evaluate"
        return Verdict(False, "unknown", "≥ raw pixels", reason=reason)
    found = paired_bootstrap(ours, pixels, resamples=evidence.resamples, seed=evidence.seed)
    passed = found.high >= 0
    reason = (
        "" if passed else f"kNN {ours.mean():.4f} on the encoder, {pixels.mean():.4f} on raw pixels"
    )
    spread = f"{found.low:+.4f} … {found.high:+.4f}"
    return Verdict(passed, f"{found.value:+.4f}", "≥ raw pixels", spread, reason)
