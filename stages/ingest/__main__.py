"""``python -m stages.ingest``."""

from __future__ import annotations

from stages.core.data.sources import sources
from stages.core.events import Tracker
from stages.core.params import Params
from stages.core.stage import stage
from stages.ingest.workers import prepare, processors, worth_workers


@stage("ingest")
def main(params: Params, track: Tracker) -> None:
    """Read the images of params.yaml's ingest.source into one manifest and one pixel store.

    Unreadable images become quarantined rows with their reason. Splits are drawn per label and per
    distinct image.
    """
    found = sources(params.ingest)
    if processors() > 1 and worth_workers(found):
        prepare()
    from stages.ingest.ingest import (
        ingest,
    )  # pandas and pyarrow take as long as the process that workers are copied from

    ingest(found, params, track)


if __name__ == "__main__":
    main()
