"""Memory of ingest: ``python -m benchmarks.ingest_memory [IMAGES [FOLDER]]`` (1,000,000 images).

Writes that many different 8 x 8 images as PNG into a Parquet file in a temporary folder, ingests
them as a user would and prints the largest memory of the stage alone and of it with its workers,
twice: from nothing, and again when nothing is new.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from stages.core import paths

GROUP = 10_000
MIB = 1 << 20


def png(pixels: np.ndarray) -> bytes:
    """A grey 8 x 8 image as a PNG file."""
    rows = np.zeros((8, 9), np.uint8)
    rows[:, 1:] = pixels
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), 0)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def groups(images: int) -> Iterator[pa.Table]:
    """Tables of random images and ten labels."""
    lot = np.random.Generator(np.random.PCG64(0))
    for first in range(0, images, GROUP):
        pixels = lot.integers(0, 256, (min(GROUP, images - first), 8, 8), np.uint8)
        labels = [str(number % 10) for number in range(len(pixels))]
        yield pa.table(
            {"image": pa.array([png(image) for image in pixels], pa.binary()), "label": labels}
        )


def resident(process: int) -> int:
    """Resident bytes of a process; 0 when it has gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
    except (OSError, IndexError):
        return 0


def children(process: int) -> list[int]:
    """Its children, those of all its threads, and theirs."""
    try:
        own = [
            int(name)
            for file in Path(f"/proc/{process}/task").glob("*/children")
            for name in file.read_text().split()
        ]
    except OSError:
        return []
    return own + [below for child in own for below in children(child)]


def watched(project: Path) -> tuple[float, float, float]:
    """Seconds, and the largest MiB of the stage and of the stage with its workers."""
    root = Path(__file__).resolve().parents[1]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.ingest"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    alone = together = 0
    while process.poll() is None:
        mine = resident(process.pid)
        alone, together = (
            max(alone, mine),
            max(together, mine + sum(map(resident, children(process.pid)))),
        )
        time.sleep(0.2)
    if process.returncode:
        sys.exit(process.returncode)
    return time.monotonic() - began, alone / MIB, together / MIB


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=int, nargs="?", default=1_000_000)
    parser.add_argument(
        "folder", type=Path, nargs="?", help="where to work (the system's temporary folder)"
    )
    given = parser.parse_args()
    images = given.images
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        project = Path(scratch)
        file = project / "images.parquet"
        schema = pa.schema([("image", pa.binary()), ("label", pa.string())])
        with pq.ParquetWriter(file, schema) as writer:
            for table in groups(images):
                writer.write_table(table)
        values = yaml.safe_load(paths.PARAMS.read_text())
        values["ingest"] |= {"source": f"parquet:{file}", "store_size": 8}
        (project / paths.PARAMS).write_text(yaml.safe_dump(values))
        for what in ("from nothing", "nothing new"):
            seconds, alone, together = watched(project)
            print(
                f"{what}: {images:,} images, {seconds:.0f} s, {alone:,.0f} MiB the stage,"
                f" {together:,.0f} MiB with its workers"
            )


if __name__ == "__main__":
    main()
