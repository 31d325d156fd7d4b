"""Linear probe, labels propagated: images without a label get one along the graph of neighbours.

Paper: Label Propagation for Deep Semi-supervised Learning, 2019.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stages.core.transfer.propagation import fit_propagated
from stages.evaluate.ladder import Budget, Row, Subject

TITLE = "linear probe, labels propagated"


def row(subject: Subject, step: Budget) -> Row | None:
    """Return the row, over as many draws as trained networks have; None for a model whose images
    without a label are not given.
    """
    if subject.spread is None:
        return None
    features, pool = subject.spread
    truth = subject.truth
    step = replace(step, draws=step.draws[: subject.draws])
    answers, validation = [], []
    for draw in step.draws:
        rest = np.setdiff1d(np.arange(len(features.train)), draw)
        probe = fit_propagated(
            features.train[draw],
            truth.train[draw],
            np.concatenate([features.train[rest], pool]),
            features.validation,
            truth.validation,
            truth.classes,
        )
        validation.append(probe.validation_accuracy)
        answers.append(probe.predict(features.test))
    chosen = f"labels propagated to {len(pool):,} images"
    return subject.row("propagated", step, answers, float(np.mean(validation)), chosen)
