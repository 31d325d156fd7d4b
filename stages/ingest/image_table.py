"""What is known of every image after decoding, one row each, filled in any order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.ingest.decode import Chunk

TEXT, NUMBERS = ("id", "phash", "reason"), ("width", "height", "channels")


class Facts:
    """Columns ``id``, ``phash``, ``reason`` (text or None), ``width``, ``height`` and
    ``channels``.
    """

    def __init__(self, rows: int) -> None:
        self.text = {name: np.full(rows, None, object) for name in TEXT}
        self.shapes = np.zeros((rows, 3), np.int32)

    def __len__(self) -> int:
        return len(self.shapes)

    def set(self, rows: npt.NDArray[np.int64], chunk: Chunk) -> None:
        """What was found decoding the images of ``rows``."""
        for name, values in zip(TEXT, (chunk.ids, chunk.hashes, chunk.reasons), strict=True):
            self.text[name][rows] = values
        self.shapes[rows] = chunk.shapes

    def copy(
        self, rows: npt.NDArray[np.int64], other: Facts, from_rows: npt.NDArray[np.int64]
    ) -> None:
        """What is known of the same images elsewhere."""
        for name in TEXT:
            self.text[name][rows] = other.text[name][from_rows]
        self.shapes[rows] = other.shapes[from_rows]

    def frame(self) -> pd.DataFrame:
        """As a table."""
        table = pd.DataFrame(
            {name: pd.Series(values, dtype=object) for name, values in self.text.items()}
        )
        table[list(NUMBERS)] = self.shapes
        return table
