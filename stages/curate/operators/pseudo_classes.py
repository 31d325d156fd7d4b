"""Clusters as stand-ins for classes, for samplers that keep images of one kind apart. Nothing is
dropped.

G-SimCLR: Self-Supervised Contrastive Learning with Guided Projection via Pseudo Labelling (2020).
"""

from __future__ import annotations

import numpy as np

from stages.core.sections import Positive, Section
from stages.curate import kmeans
from stages.curate.curation import Curation


class Settings(Section):
    """``classes``: how many."""

    classes: Positive = 10


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Write the pseudo-class of every readable row into ``cluster``."""
    rows = curation.candidates()
    if not len(rows):
        return {"classes": 0}
    centroids = kmeans.fit(curation.features, rows, settings.classes, curation.seed)
    readable = curation.manifest.rows(curation.manifest.ok)
    curation.cluster[readable] = kmeans.assign(curation.features, readable, centroids)
    return {"classes": len(np.unique(curation.cluster[rows]))}
