"""Plain random sampling to ``curate.budget``: what every cleverer operator has to beat. Labelled
images go last.
"""

from __future__ import annotations

import numpy as np

from stages.core.random import numpy_generator
from stages.core.sections import Section
from stages.curate.curation import Curation


class Settings(Section):
    """None."""


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Drop by lot what is over the budget."""
    rows = curation.candidates()
    lot = numpy_generator(curation.seed, "budget").permutation(len(rows))
    order = np.lexsort((lot, ~curation.labelled[rows]))
    lost = np.sort(rows[order[curation.budget :]])
    curation.drop(lost, ["budget: not drawn"] * len(lost))
    return {"dropped": len(lost)}
