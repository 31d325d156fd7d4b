"""Which concepts the sources share and which only one of them has. Nothing is dropped;
``prototypes.csv`` is the table.

Prototype-based Dataset Comparison (ProtoSim, 2023); here the prototypes are k-means centroids over
all sources.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from stages.core.sections import Positive, Section
from stages.curate import kmeans
from stages.curate.curation import Curation


class Settings(Section):
    """``prototypes`` over all sources; one is exclusive where a single source holds at least
    ``exclusive`` of it.
    """

    prototypes: Positive = 32
    exclusive: Annotated[float, Field(gt=0.5, le=1)] = 0.95


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Count each source's images per prototype, every source weighing the same."""
    rows = curation.candidates()
    if not len(rows):
        return {"shared": 0}
    centroids = kmeans.fit(curation.features, rows, settings.prototypes, curation.seed)
    nearest = kmeans.assign(curation.features, rows, centroids)
    names, source = np.unique(
        curation.manifest.frame["source"].to_numpy(str)[rows], return_inverse=True
    )
    counts = np.zeros((len(centroids), len(names)), np.int64)
    np.add.at(counts, (nearest, source), 1)
    owner = owners(counts, settings.exclusive)
    table: list[tuple[object, ...]] = [
        (number, "shared" if who < 0 else names[who], *counts[number].tolist())
        for number, who in enumerate(owner)
    ]
    curation.tables["prototypes"] = (["prototype", "whose", *names], table)
    exclusive = {
        f"only_{name}": float((owner == number).sum()) for number, name in enumerate(names)
    }
    return {"shared": float((owner < 0).sum()), **exclusive}


def owners(counts: np.ndarray, exclusive: float) -> np.ndarray:
    """The source each prototype belongs to, -1 where it is shared; ``counts`` is ``(prototypes,
    sources)``.
    """
    rate = counts / np.maximum(counts.sum(axis=0), 1)
    share = rate / np.maximum(rate.sum(axis=1, keepdims=True), 1e-12)
    return np.where(share.max(axis=1) >= exclusive, share.argmax(axis=1), -1)
