"""Which images ``rootstock predict`` was asked about, for the drift check; the older ones are
forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from flows.process.locks import lock
from stages.core import paths
from stages.core.io import atomic_file

LOG = paths.STATE / "predictions.jsonl"
LIMIT = 16 << 20
"""Bytes above which the older half is dropped: about a hundred thousand images."""


def remember(images: Iterable[Path]) -> None:
    """Add images to the log."""
    with lock(LOG.with_suffix(".lock")):
        with LOG.open("a") as log:
            log.writelines(json.dumps({"image": str(image.resolve())}) + "\n" for image in images)
        if LOG.stat().st_size > LIMIT:
            lines = LOG.read_text().splitlines(keepends=True)
            with atomic_file(LOG) as temporary:
                temporary.write_text("".join(lines[len(lines) // 2 :]))


def latest(root: Path, most: int) -> list[Path]:
    """The last ``most`` different images that still exist, the newest first; none where nothing was
    asked yet.
    """
    if not (root / LOG).is_file():
        return []
    named = dict.fromkeys(map(_image, reversed((root / LOG).read_text().splitlines())))
    return list(islice((path for path in named if path and path.is_file()), most))


def _image(line: str) -> Path | None:
    """The image of a line of the log; None of one that a killed ``predict`` left half-written."""
    try:
        return Path(json.loads(line)["image"])
    except (ValueError, KeyError, TypeError):
        return None
