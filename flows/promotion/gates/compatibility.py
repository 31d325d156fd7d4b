"""New embeddings retrieve as well as the champion's from the champion's index.

This is backward compatibility: the old gallery need not be embedded again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flows.promotion.evidence import FEW_SHARED, Evidence, Verdict

Vectors = NDArray[np.float32]

SHARE = True
"""The threshold is a fraction, at most 1."""


def check(evidence: Evidence, threshold: float) -> Verdict:
    """Nearest-neighbour accuracy of new queries in the old gallery, as a share of what old queries
    reach there.

    "Towards Backward-Compatible Representation Learning" (2020).
    """
    if evidence.champion is None:
        return evidence.nothing_to_compare(f"{threshold:.4g}")
    if evidence.answers is None:
        return evidence.no_answers(threshold)
    new, old = evidence.embeddings(evidence.candidate), evidence.embeddings(evidence.champion)
    if new is None or old is None:
        whose = "it" if new is None else "the champion"
        return Verdict(
            False,
            "no comparison",
            f"{threshold:.4g}",
            reason=f"no embeddings of the test images were kept for {whose}",
        )
    shared, ours, theirs = np.intersect1d(new[0], old[0], assume_unique=True, return_indices=True)
    few = len(shared) < FEW_SHARED and not np.array_equal(new[0], old[0])
    if few or len(shared) < 2:
        return evidence.no_comparison(f"{threshold:.4g}")
    if new[1].shape != old[1].shape:
        reason = (
            f"{new[1].shape[1]} dimensions against the champion's {old[1].shape[1]}: the index must"
            " be rebuilt"
        )
        return Verdict(False, "incompatible", f"{threshold:.4g}", reason=reason)
    labels = evidence.answers.labels_of(shared)
    gallery = old[1][theirs]
    across, within = (
        nearest_accuracy(queries, gallery, labels) for queries in (new[1][ours], gallery)
    )
    share = across / within if within else 0.0
    reason = "" if share >= threshold else "the champion's index must be rebuilt"
    return Verdict(
        share >= threshold,
        f"{share:.4f}",
        f"{threshold:.4g}",
        f"{across:.4f} of {within:.4f}",
        reason,
    )


def nearest_accuracy(queries: Vectors, gallery: Vectors, labels: NDArray[np.object_]) -> float:
    """How often the most similar other image has the query's label; ``(N, D)`` each, row i of both
    being image i.
    """
    from stages.core.metrics.retrieval import retrieved

    _, numbers = np.unique(labels.astype(str), return_inverse=True)
    return float(retrieved(queries, gallery, numbers.astype(np.int64)).mean())
