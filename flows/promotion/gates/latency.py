"""One image is answered within this many milliseconds on this machine (median of 20)."""

from __future__ import annotations

import time

from flows.promotion.evidence import Evidence, Verdict

WARM, TIMED = 3, 20


def check(evidence: Evidence, threshold: float) -> Verdict:
    """Time from encoded bytes to label, through the very code that serves."""
    import numpy as np

    from flows.registry.packaging import example
    from stages.core.models.inference import ImageClassifier

    directory = evidence.candidate.artifact
    classifier, image = ImageClassifier(directory), example(directory)["image"]
    seconds = []
    for _ in range(WARM + TIMED):
        began = time.perf_counter()
        classifier.predict(image)
        seconds.append(time.perf_counter() - began)
    low, found, high = np.quantile(seconds[WARM:], [0.05, 0.5, 0.95]) * 1000
    reason = "" if found <= threshold else f"{found - threshold:.1f} ms too slow"
    return Verdict(
        bool(found <= threshold),
        f"{found:.1f} ms",
        f"≤ {threshold:.4g} ms",
        f"{low:.1f} … {high:.1f}",
        reason,
    )
