"""Do the images look like those of the version that last passed? Tests per feature, jointly by
neighbours and by a classifier, and in the embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from stages.core.metrics.drift import FEWEST, detect_drift, enough, neighbour_test
from stages.core.sections import Positive, Share
from stages.validate.audit import Answer, AuditSettings, Pool, Severity
from stages.validate.neighbours import nearest
from stages.validate.profile import Profile, sampled

SHOWN, SHOWN_IMAGES = 3, 48


class Settings(AuditSettings):
    severity: Severity = "warning"
    alpha: Annotated[float, Field(gt=0, lt=1)] = (
        0.01  # share of checks of unchanged data that may raise an alarm
    )
    threshold: Share = 0.1  # least change that counts, from 0 to 1
    permutations: Positive = 499


def audit(pool: Pool, settings: Settings) -> list[Answer]:
    """Compare a sample with ``validate.reference``; half of the error budget each for statistics
    and for the embedding.

    Names the images farthest in the embedding from all of the reference.

    Where both versions hold the same images the tests say "no drift" more often than they would of
    fresh ones.
    """
    expected = "the images look like those of the reference"
    if pool.reference is None:
        return [
            Answer(
                expected,
                True,
                "no reference: rootstock reference makes this version the one to compare with",
            )
        ]
    old, new = Profile.read(Path(pool.reference)), Profile.of(pool)
    if old.store != new.store:
        return [
            Answer(
                expected,
                False,
                f"stored with {old.store} channels and pixels a side then, {new.store} now: run"
                " with the same",
            )
        ]
    if len(new.statistics) < FEWEST:
        return [Answer(expected, True, "too few images to say")]
    budget = settings.alpha / 2
    drift = detect_drift(
        old.statistics,
        new.statistics,
        alpha=budget,
        threshold=settings.threshold,
        seed=pool.seed,
        names=new.names,
        permutations=settings.permutations,
    )
    near = neighbour_test(
        old.embedding, new.embedding, 5, enough(settings.permutations, budget), pool.seed
    )
    moved = near.p_value <= budget and near.excess >= settings.threshold
    worst = ", ".join(f"{test.feature} {test.distance:.2f}" for test in drift.features[:SHOWN])
    found = (
        f"own-side neighbours {near.excess:+.3f} over chance in the embedding (p ="
        f" {near.p_value:.3f}), "
    )
    found += (
        f"{drift.neighbours.excess:+.3f} in statistics (p = {drift.neighbours.p_value:.3f}); a"
        " classifier tells the versions "
    )
    found += (
        f"apart by {drift.classifier.excess:+.3f} (p = {drift.classifier.p_value:.3f}); largest"
        f" gaps: {worst}"
    )
    if not (moved or drift.drifted):
        return [Answer(expected, True, found)]
    away = nearest(new.embedding, old.embedding, 1)[1][:, 0]
    order = np.argsort(-away, kind="stable")[:SHOWN_IMAGES]
    return [
        Answer(
            expected,
            False,
            found,
            sampled(pool)[order],
            tuple(f"{away[one]:.3f} from the nearest then" for one in order),
        )
    ]
