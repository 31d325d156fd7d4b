"""Sources with everyday faults, and the stages that read them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stages.core import paths
from tests.support.images import digit, encoded, params_with, run_stage, save


def ingest(source: object, **changes: object) -> pd.DataFrame:
    spec = f"folder:{source}" if isinstance(source, Path) else source
    run_stage("ingest", params_with(ingest={"source": spec, "labelled_fraction": 1, **changes}))
    return pd.read_parquet(paths.POOL_MANIFEST).set_index("uri", drop=False)


def validate(source: object, **changes: object) -> None:
    spec = f"folder:{source}" if isinstance(source, Path) else source
    params = params_with(
        ingest={"source": spec, "labelled_fraction": 1, **changes}, validate={"audits": []}
    )
    run_stage("ingest", params)
    run_stage("validate", params)


def left_out() -> dict[str, dict[str, int]]:
    file = paths.POOL / "left_out.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def pictures(root: Path, *folders: str, n: int = 12, first: int = 0, suffix: str = "png") -> None:
    """``n`` different pictures in each folder."""
    for place, folder in enumerate(folders):
        for number in range(n):
            save(digit(first + place * n + number), root / folder / f"{number:03}.{suffix}")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def table(file: Path, numbers: range, **columns: list[object]) -> None:
    """A Parquet file of pictures in the column ``image`` (or the one that ``named`` says)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    named = str(columns.pop("named", ["image"])[0])
    images = [{"bytes": encoded(digit(number), "PNG"), "path": None} for number in numbers]
    pq.write_table(pa.table({named: images, **columns}), file)


# given splits
