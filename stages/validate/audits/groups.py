"""Is every group (domain, camera, patient) in every split, often enough to tell how well a model does on it?"""

from __future__ import annotations

import pandas as pd

from stages.core.params import Positive
from stages.validate.audit import Answer, AuditSettings, Pool, Severity

SHOWN = 5


class Settings(AuditSettings):
    severity: Severity = "warning"
    min_per_group: Positive = 5  # images of each group in each split that the data have


def audit(pool: Pool, settings: Settings) -> list[Answer]:
    """Two answers: no image of a grouped source is without group, and each group has enough images in each split."""
    frame = pool.manifest.frame[pool.manifest.ok]
    known = frame["group"].notna()
    if not known.any():
        return [Answer("groups are in every split", True, "the sources name no groups")]
    grouped = frame["source"].isin(frame.loc[known, "source"].unique())
    lost = frame.index[grouped & ~known].to_numpy()
    return [
        Answer("every image of a source with groups has one", not len(lost), f"{len(lost)} images have none", lost),
        _counts(frame[known], settings.min_per_group),
    ]


def _counts(frame: pd.DataFrame, least: int) -> Answer:
    used = frame[frame["split"] != "none"]
    table = pd.crosstab(frame["group"], used["split"]).reindex(sorted(frame["group"].unique()), fill_value=0)
    few = [f"{count} of {group} in {split}" for group, row in table.iterrows() for split, count in row.items() if count < least]
    more = f" and {len(few) - SHOWN} more" if len(few) > SHOWN else ""
    found = (
        ", ".join(few[:SHOWN]) + more if few else f"{len(table)} groups, the fewest {int(table.min().min()) if table.size else 0}"
    )
    return Answer(f"every group has at least {least} images in each split", not few, found)
