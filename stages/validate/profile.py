"""What a data version looks like, small enough for git: the description of a few hundred images, to
measure drift against.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.data.manifest import Rows
from stages.core.errors import DataError
from stages.core.io import atomic_file
from stages.core.metrics.drift import image_statistics
from stages.validate.audit import Pool

Array = npt.NDArray[np.float32]

FILE = "profile.parquet"
SAMPLE = 500


@dataclass(frozen=True)
class Profile:
    """Statistics ``(n, F)`` with their names and the embedding ``(n, D)`` of the same images."""

    names: list[str]
    statistics: Array
    embedding: Array
    store: tuple[int, int]  # channels, side

    @classmethod
    def of(cls, pool: Pool) -> Profile:
        """Describe at most 500 distinct images; the same ones for the same data and seed."""
        rows = sampled(pool)
        images = pool.thumbnails(rows)
        statistics, names = image_statistics(
            np.rint(images * 255).astype(np.uint8), grey=images.shape[1] == 1
        )
        return cls(
            names,
            statistics,
            np.hstack([pool.shapes(rows), pool.colours(rows)]),
            pool.store.shape[1:3],
        )

    def write(self, path: Path) -> None:
        """Write atomically; the same profile gives the same bytes."""
        columns = [
            *self.names,
            *(f"embedding {number}" for number in range(self.embedding.shape[1])),
        ]
        values = np.hstack([self.statistics, self.embedding]).astype(np.float32)
        table = pa.table({name: pa.array(values[:, column]) for column, name in enumerate(columns)})
        about = json.dumps({"store": list(self.store), "statistics": len(self.names)})
        with atomic_file(path) as temporary:
            pq.write_table(
                table.replace_schema_metadata({"rootstock": about}), temporary, compression="zstd"
            )

    @classmethod
    def read(cls, path: Path) -> Profile:
        """Read a reference and hold it against the hash in its name, so that a parameter names one
        content for ever.

        Raises:
            DataError: it is missing, no profile, or not the one it was.
        """
        if not path.is_file():
            raise DataError(f"validate.reference: {path} is missing: git has it, or set it to null")
        if path.stem != name_of(path):
            raise DataError(
                f"validate.reference: {path} is not what it was: its content is {name_of(path)}"
            )
        try:
            table = pq.read_table(path)
            about = json.loads(table.schema.metadata[b"rootstock"])
        except (pa.ArrowInvalid, KeyError, TypeError, ValueError):
            raise DataError(f"validate.reference: {path} is no profile of a data version") from None
        values = np.stack([column.to_numpy() for column in table.columns], axis=1)
        count = int(about["statistics"])
        return cls(
            table.column_names[:count], values[:, :count], values[:, count:], tuple(about["store"])
        )


def sampled(pool: Pool) -> Rows:
    """The rows a profile describes, in its order."""
    return pool.draw(pool.distinct, SAMPLE, "profile")


def name_of(path: Path) -> str:
    """What a profile is called as a reference: sixteen digits of its sha256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
