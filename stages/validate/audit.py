"""Audits: what no single row can tell. Named in ``validate.audits``, each one file, each with
checked settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stages.core.audit_settings import AuditSettings, Severity
from stages.core.data.manifest import Manifest, Rows
from stages.core.image.pixel_store import PixelStore
from stages.core.image.thumbnails import thumbnails
from stages.core.random import numpy_generator
from stages.validate import embedding

__all__ = ["Answer", "AuditSettings", "Pool", "Severity", "blocks"]

BLOCK = 2048


@dataclass(frozen=True)
class Answer:
    """What an audit says about one question. ``rows`` are the images to look at, worst first,
    ``details`` a word on each.
    """

    expected: str
    passed: bool
    found: str
    rows: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    details: tuple[str, ...] = ()


class Pool:
    """The data under audit, and what several audits want to know about it."""

    def __init__(
        self, manifest: Manifest, store: PixelStore, seed: int, reference: str | None = None
    ) -> None:
        self.manifest, self.store, self.seed, self.reference = manifest, store, seed, reference

    @cached_property
    def distinct(self) -> Rows:
        """Readable rows without the second and further copies of an image."""
        ok = self.manifest.ok
        return self.manifest.rows(
            ok & ~self.manifest.frame["id"].where(ok).duplicated().to_numpy(bool)
        )

    def draw(self, rows: Rows, count: int, *path: object) -> Rows:
        """At most ``count`` of the rows, ascending; the same ones every time."""
        if len(rows) <= count:
            return rows
        return np.sort(
            numpy_generator(self.seed, "audit", *path).choice(rows, count, replace=False)
        )

    def thumbnails(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Images ``(n, C, s, s)`` in 0..1, averaged down to at most 32 pixels a side."""
        parts = [thumbnails(self.store.array(part)) for part in blocks(rows)]
        return np.concatenate(parts) if parts else np.empty((0, *self.store.shape[1:]), np.float32)

    def shapes(self, rows: Rows) -> npt.NDArray[np.float32]:
        """See :func:`embedding.shapes`."""
        return np.concatenate([embedding.shapes(self.thumbnails(part)) for part in blocks(rows)])

    def colours(self, rows: Rows) -> npt.NDArray[np.float32]:
        """See :func:`embedding.colours`."""
        return np.concatenate([embedding.colours(self.thumbnails(part)) for part in blocks(rows)])

    def uri(self, row: int) -> str:
        """The uri of a row."""
        return str(self.manifest.frame["uri"].iat[row])


def blocks(rows: Rows) -> list[Rows]:
    """The rows in parts that fit in memory together with what is computed of them."""
    return [rows[first : first + BLOCK] for first in range(0, len(rows), BLOCK)]
