"""Images whose decoded pixels are equal: one stays, a labelled one where there is one. Copies
always share a split.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from stages.core.sections import Section
from stages.curate.curation import Curation


class Settings(Section):
    """None."""


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Drop every copy but one."""
    rows = curation.kept()
    ids = curation.manifest.frame["id"].iloc[rows]
    repeated = ids.duplicated(keep=False).to_numpy(
        bool
    )  # few: what follows is small even of a million rows
    rows = rows[repeated]
    copies, originals = find_copies(ids[repeated].to_numpy(object), curation.labelled[rows])
    names = curation.uris(rows[originals])
    curation.drop(rows[copies], [f"exact_duplicates: copy of {name}" for name in names])
    return {"copies": len(copies)}


def find_copies(ids: np.ndarray, preferred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of copies and, beside each, of the one that stays: the first preferred one with
    that id, else the first.
    """
    order = np.argsort(~preferred, kind="stable")
    frame = pd.DataFrame({"id": ids[order], "position": order})
    first = frame.groupby("id", sort=False)["position"].transform("first").to_numpy()
    copy = order != first
    by_row = np.argsort(order[copy], kind="stable")
    return order[copy][by_row], first[copy][by_row]
