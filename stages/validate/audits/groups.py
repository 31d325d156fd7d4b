"""Is every group (domain, camera, patient) in every split, often enough to tell how well a model
does on it?
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from stages.core.sections import Positive
from stages.validate.audit import Answer, AuditSettings, Pool, Severity

SHOWN = 5


class Settings(AuditSettings):
    severity: Severity = "warning"
    min_per_group: Positive = 5  # images of each group in each split that the data have


def audit(pool: Pool, settings: Settings) -> list[Answer]:
    """Two answers: no image of a grouped source is without group, and each group has enough images
    in each split.
    """
    frame = pool.manifest.frame[pool.manifest.ok]
    known = frame["group"].notna()
    if not known.any():
        return [Answer("groups are in every split", True, "the sources name no groups")]
    grouped = frame["source"].isin(frame.loc[known, "source"].unique())
    lost = frame.index[grouped & ~known].to_numpy()
    return [
        Answer(
            "every image of a source with groups has one",
            not len(lost),
            f"{len(lost)} images have none",
            lost,
        ),
        _counts(frame[known], settings.min_per_group),
    ]


def _counts(frame: pd.DataFrame, least: int) -> Answer:
    """Names the images of the groups that are too few."""
    used = frame[frame["split"] != "none"]
    table = pd.crosstab(frame["group"], used["split"]).reindex(
        sorted(frame["group"].unique()), fill_value=0
    )
    few = {
        (group, split): count
        for group, row in table.iterrows()
        for split, count in row.items()
        if count < least
    }
    told = [f"{count} of {group} in {split}" for (group, split), count in few.items()]
    more = f" and {len(few) - SHOWN} more" if len(few) > SHOWN else ""
    count = f"{len(table)} group{'s' * (len(table) > 1)}"
    found = (
        ", ".join(told[:SHOWN]) + more
        if few
        else f"{count}, the fewest {int(table.min().min()) if table.size else 0}"
    )
    rare = (
        used[pd.MultiIndex.from_frame(used[["group", "split"]]).isin(list(few))]
        if few
        else used.iloc[:0]
    )
    details = tuple(
        f"{group} in {split}" for group, split in zip(rare["group"], rare["split"], strict=True)
    )
    expected = f"every group has at least {least} images in each split"
    return Answer(expected, not few, found, rare.index.to_numpy(np.int64), details)
