"""Images that somebody asked to forget: they leave before anything else looks at them, from every
split.
"""

from __future__ import annotations

from collections.abc import Collection

from stages.curate.curation import Curation

REASON = "forgotten"


def forget(curation: Curation, ids: Collection[str]) -> dict[str, float]:
    """Drop every row with one of these ids, copies included."""
    rows = curation.manifest.rows(
        curation.keep & curation.manifest.frame["id"].isin(list(ids)).to_numpy(bool)
    )
    curation.drop(rows, [REASON] * len(rows))
    return {"dropped": len(rows)}
