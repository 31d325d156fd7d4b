"""Images unlike anything else in the pool: often scans gone wrong, placeholders, or another subject
altogether.
"""

from __future__ import annotations

import numpy as np

from stages.core.sections import Positive, Section, Share
from stages.curate.curation import Curation
from stages.curate.neighbours import neighbours


class Settings(Section):
    """The ``share`` of candidates that goes, by mean correlation with the nearest ``neighbours``.
    Labelled images stay.
    """

    share: Share = 0.01
    neighbours: Positive = 10


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Drop the most isolated candidates."""
    rows = curation.candidates()
    if len(rows) <= settings.neighbours:
        return {"dropped": 0}
    _, alike = neighbours(curation.features, rows, settings.neighbours, curation.seed)
    score = alike.mean(axis=1)
    order = np.lexsort((score, curation.labelled[rows]))
    count = min(int(settings.share * len(rows)), int((~curation.labelled[rows]).sum()))
    lost = np.sort(order[:count])
    curation.drop(
        rows[lost],
        [f"outliers: {value:.3f} like its nearest {settings.neighbours}" for value in score[lost]],
    )
    return {"dropped": count}
