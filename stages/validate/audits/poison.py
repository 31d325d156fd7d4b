"""Backdoor triggers: a patch or a frequency that a few images share and no other has.

One per cent of poisoned images is enough to plant one: "An Embarrassingly Simple Backdoor Attack on
Self-supervised Learning" (2023).
"""

from __future__ import annotations

import numpy as np

from stages.core.sections import Positive, Share
from stages.validate import backdoor
from stages.validate.audit import Answer, AuditSettings, Pool, Severity, blocks

FEWEST = 6
IMAGES = 200
"""Below this a few alike are no sign of anything."""
MOST_MARKS = 5
"""More marks than this are no attack, but how aligned or coarse images are."""
SMALLEST = 24
"""Pixels a side below which a patch of 3 x 3 is a stroke, and no trigger."""


class Settings(AuditSettings):
    severity: Severity = "warning"
    min_share: Share = 0.004  # of the images looked at, at least six
    max_share: Share = 0.3  # what more images share is how these images are
    max_images: Positive = 10000


def audit(pool: Pool, settings: Settings) -> list[Answer]:
    """One answer each on patches and frequencies, over all readable images that have no earlier
    copy.

    A trigger that moves about, or one smaller than a tenth of the side, is not seen.
    """
    rows = pool.draw(pool.distinct, settings.max_images, "poison")
    if len(rows) < IMAGES or pool.store.shape[-1] < SMALLEST:
        return [
            Answer(
                "no few images share a trigger", True, "too few images, or too small ones, to say"
            )
        ]
    least, most = (
        max(FEWEST, round(settings.min_share * len(rows))),
        int(settings.max_share * len(rows)),
    )
    found = {
        "no few images share a patch that no other has": backdoor.patches(
            pool.thumbnails(rows), least, most
        ),
        "no few images share a frequency that stands out": backdoor.frequencies(
            _whole(pool, rows), least, most
        ),
    }
    return [_answer(pool, rows, expected, marks) for expected, marks in found.items()]


def _whole(pool: Pool, rows: np.ndarray) -> np.ndarray:
    """Images as stored: scaling down would take the high frequencies away. Of large ones the middle
    64 pixels.
    """
    side = pool.store.shape[-1]
    cut = slice((side - 64) // 2, (side + 64) // 2) if side > 64 else slice(None)
    parts = [
        pool.store.array(part)[:, :, cut, cut].astype(np.float32) / 255 for part in blocks(rows)
    ]
    return np.concatenate(parts)


def _answer(pool: Pool, rows: np.ndarray, expected: str, marks: list[backdoor.Trigger]) -> Answer:
    if not marks:
        return Answer(expected, True, f"none in {len(rows)} images looked at")
    if len(marks) > MOST_MARKS:
        return Answer(
            expected,
            True,
            f"{len(marks)} of them: these images are too much alike to tell a trigger from chance",
        )
    labels = pool.manifest.frame["label"]
    told = []
    for mark in marks:
        classes = labels.iloc[rows[mark.images]].value_counts()
        mostly = f", {classes.iloc[0]} of them {classes.index[0]}" if len(classes) else ""
        told.append(f"{len(mark.images)} images have {mark.what}{mostly}")
    details = tuple(mark.what for mark in marks for _ in mark.images)
    return Answer(
        expected,
        False,
        "; ".join(told),
        rows[np.concatenate([mark.images for mark in marks])],
        details,
    )
