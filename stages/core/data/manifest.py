"""The manifest: one row per image, row i belonging to row i of the pixel store. Rows are explained,
never deleted.
"""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.errors import DataError
from stages.core.io import atomic_file

Rows = npt.NDArray[np.int64]

COLUMNS = {
    "id": pa.string(),  # sha256 of the decoded pixels; null when quarantined
    "uri": pa.string(),  # source and place inside it: no absolute path
    "source": pa.string(),
    "role": pa.string(),  # pool | target
    "split": pa.string(),  # train | val | test | none
    "label": pa.string(),  # null: unlabelled
    "group": pa.string(),
    "width": pa.int32(),  # of the decoded image; 0 when quarantined
    "height": pa.int32(),
    "channels": pa.int8(),
    "phash": pa.string(),  # 64-bit perceptual hash in hexadecimal
    "license": pa.string(),
    "attribution": pa.string(),
    "status": pa.string(),  # ok | quarantined
    "reason": pa.string(),
}
"""What ingest writes."""

CURATED_COLUMNS = {
    "keep": pa.bool_(),
    "cluster": pa.int32(),  # -1: none
    "weight": pa.float32(),
}
"""What curate adds; it also fills ``reason`` for every row it does not keep."""


class Manifest:
    """A pandas frame with the columns above and the selections every stage shares."""

    def __init__(self, frame: pd.DataFrame) -> None:
        missing = [name for name in COLUMNS if name not in frame.columns]
        if missing:
            raise DataError(f"the manifest lacks the columns {', '.join(missing)}")
        self.frame = frame.reset_index(drop=True)

    @classmethod
    def read(cls, path: Path | str) -> Manifest:
        """Read a manifest; a missing or broken file is a :class:`DataError` that names it."""
        path = Path(path)
        if not path.is_file():
            raise DataError(
                f"{path} is missing: run the stage that writes it (rootstock plan shows which)"
            )
        try:
            return cls(pq.ParquetFile(path).read().to_pandas())
        except (
            pa.ArrowException,
            OSError,
            ValueError,
        ) as error:  # of damage pyarrow says now this, now that
            raise DataError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from None

    def write(self, path: Path | str) -> None:
        """Write atomically; the same rows give the same bytes."""
        curated = {
            name: kind for name, kind in CURATED_COLUMNS.items() if name in self.frame.columns
        }
        schema = pa.schema([pa.field(name, kind) for name, kind in {**COLUMNS, **curated}.items()])
        table = pa.Table.from_pandas(
            self.frame[schema.names], schema=schema, preserve_index=False
        ).replace_schema_metadata(None)
        with atomic_file(path) as temporary:
            pq.write_table(table, temporary, compression="zstd", row_group_size=1 << 17)

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self, mask: npt.ArrayLike | pd.Series) -> Rows:
        """Row numbers, ascending, where ``mask`` (one truth value per row) holds."""
        return np.flatnonzero(np.asarray(mask, bool)).astype(np.int64)

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """Which rows have pixels."""
        return self._is("status", "ok")

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Which rows have pixels and were kept by curation (all of them before curation)."""
        if "keep" not in self.frame.columns:
            return self.ok
        return self.frame["keep"].to_numpy(bool) & self.ok

    @property
    def classes(self) -> list[str]:
        """The labels of the readable images, sorted."""
        return sorted(self.frame.loc[self.ok, "label"].dropna().unique().tolist())

    def labels(self, rows: Rows) -> Rows:
        """Index into :attr:`classes` of each row, -1 where it has no label."""
        return pd.Categorical(self.frame["label"].iloc[rows], self.classes).codes.astype(np.int64)

    def pretraining_rows(self) -> Rows:
        """Kept images that self-supervised training may see: the pool and the training split."""
        return self.rows(self.kept & self._is("split", "train", "none"))

    def labelled_rows(self, split: str) -> Rows:
        """Kept images of a split that have a label."""
        return self.rows(
            self.kept & self._is("split", split) & self.frame["label"].notna().to_numpy(bool)
        )

    def require_labels(self) -> None:
        """Refuse to go on where every image is unlabelled."""
        if not self.classes:
            raise DataError(
                "no image has a label, so there is nothing to fine-tune or evaluate on: sort"
                " labelled images into one folder per class, or stop earlier (rootstock run --to"
                " distill), where RankMe measures the encoder"
            )

    def validate_against(self, store: Sized) -> None:
        """Refuse a manifest and pixels that were not written together."""
        if len(self) != len(store):
            raise DataError(
                f"the manifest has {len(self)} rows and the pixel store {len(store)}: run ingest"
                " again"
            )

    def _is(self, column: str, *values: str) -> npt.NDArray[np.bool_]:
        return np.asarray(self.frame[column].isin(values), bool)
