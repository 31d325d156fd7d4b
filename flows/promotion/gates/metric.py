"""Any metric of the classifier's answers is at least its threshold: ``{macro_f1: 0.8}``."""

from __future__ import annotations

import numpy as np

from flows.promotion.evidence import Evidence, Verdict
from stages.core.families import family
from stages.core.random import numpy_generator

LEVEL = 95.0
"""Per cent of the resamples that the interval holds."""
RESAMPLES = 1000
"""At most: a metric is computed once for each."""


def check(evidence: Evidence, threshold: float, metric: str = "accuracy") -> Verdict:
    """Compute the metric on the test images, with a bootstrap interval over images.

    Raises:
        ConfigError: no metric has this name.
    """
    score = family("promote.gates.metric").load(metric).score
    if evidence.answers is None:
        return evidence.no_answers(threshold)
    labels, predicted, classes = evidence.answers.numbers
    value = score(labels, predicted, classes)
    draws = numpy_generator(evidence.seed, "metric gate", metric).integers(
        0, len(labels), (min(evidence.resamples, RESAMPLES), len(labels))
    )
    found = [score(labels[draw], predicted[draw], classes) for draw in draws]
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(found, [tail, 100 - tail])
    return Verdict(
        value >= threshold,
        f"{value:.4f}",
        f"{threshold:.4g}",
        f"{low:.4f} … {high:.4f}",
        f"{metric} on {len(labels):,} test images",
    )
