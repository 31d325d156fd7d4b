"""One folder of a million images: seconds and memory of listing it and of hashing its files, the
first time and again.

``python -m benchmarks.folder_walk [--files N] [--scratch FOLDER]``. The files are hard links to
twenty pictures, so they take no room but their names; they are removed at the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from benchmarks.results import record
from stages.core.data.folders import content_hashes, walk

DIFFERENT = 20


def fill(folder: Path, files: int) -> None:
    """Twenty pictures under ``files`` names."""
    folder.mkdir()
    lot = np.random.default_rng(0)
    for number in range(DIFFERENT):
        Image.fromarray(lot.integers(0, 256, (8, 8)).astype(np.uint8)).save(
            folder.parent / f"{number}.png"
        )
    for number in range(files):
        os.link(folder.parent / f"{number % DIFFERENT}.png", folder / f"{number:07}.png")


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument(
        "--scratch",
        type=Path,
        default=None,
        help="where the folder is made (default: the system's)",
    )
    arguments = parser.parse_args()
    with TemporaryDirectory(dir=arguments.scratch) as scratch:
        folder = Path(scratch) / "images"
        fill(folder, arguments.files)
        for turn in ("first time", "again"):
            with told(f"listing, {turn}"):
                listing = walk(folder)
            with told(f"hashing, {turn}"):
                content_hashes(listing, Path(scratch) / "cache")


COMMAND = "`python -m benchmarks.folder_walk`"


@contextmanager
def told(what: str) -> Iterator[None]:
    """Seconds by the clock and of the processor, and the largest memory of the process so far."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = f"{clock:.1f} s, {processor:.1f} of the processor; peak {peak:,.0f} MiB"
    print(f"{what:<22} {found}", flush=True)
    record("data", f"a million files in one folder: {what}", COMMAND, found)


if __name__ == "__main__":
    main()
