"""Peak memory of the curate stage at a million rows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.curation_pool import ROOT, workplace
from stages.core import paths
from stages.core.data.manifest import COLUMNS, Manifest
from stages.core.image.pixel_store import PixelWriter
from stages.core.random import numpy_generator

ROWS, SIDE, BLOCK = 1_000_000, 16, 10_000
STEPS = (
    "[exact_duplicates, {prototypes: {prototypes: 32}}, {pseudo_classes: {classes: 100}}, balance,"
    " budget]"
)


def memory(scratch: Path) -> None:
    """Synthetic rows (random pictures of 8 x 8 cells) through operators that look at every one."""
    with workplace(scratch, "memory"):
        if not paths.POOL_MANIFEST.is_file():
            _write_pool()
        shutil.copy(ROOT / paths.PARAMS, paths.PARAMS)
        paths.STATE.mkdir(exist_ok=True)
        shutil.rmtree(paths.CACHE, ignore_errors=True)
        for steps in (STEPS, "[exact_duplicates, near_duplicates, balance]"):
            _set(steps)
            done = subprocess.run([sys.executable, "-m", "stages.curate"], check=False)
            events = [
                json.loads(line)
                for line in (paths.EVENTS / "curate.jsonl").read_text().splitlines()
            ]
            system = {
                key: value
                for event in events
                if event["kind"] == "metrics"
                for key, value in event["values"].items()
            }
            peak, seconds = (
                float(system.get(f"system.{name}", "nan"))
                for name in ("peak_memory_mib", "seconds")
            )
            print(
                f"memory: {ROWS:,} rows of {SIDE} x {SIDE}, {steps}: exit {done.returncode}, "
                f"{peak / 1024:.2f} GiB, {seconds:.0f} s",
                flush=True,
            )


def _set(steps: str) -> None:
    from flows.project.params_file import override

    override(["curate.budget=0.5", f"curate.steps={steps}"])


def _write_pool() -> None:
    lot = numpy_generator(0, "memory")
    with PixelWriter(paths.POOL_PIXELS, channels=1, size=SIDE) as writer:
        for _ in range(ROWS // BLOCK):
            coarse = lot.integers(0, 256, (BLOCK, 1, SIDE // 2, SIDE // 2), np.uint8)
            writer.append(np.repeat(np.repeat(coarse, 2, 2), 2, 3))
    number = np.arange(ROWS)
    values: dict[str, object] = dict.fromkeys(COLUMNS)
    values |= {
        "id": [f"{one:064x}" for one in number],
        "uri": [f"synthetic:{one:07}" for one in number],
        "source": np.where(number % 3, "crawl", "own"),
        "role": np.where(number % 3, "pool", "target"),
        "split": np.where(number % 3, "none", "train"),
        "label": None,
        "group": None,
        "width": SIDE,
        "height": SIDE,
        "channels": 1,
        "phash": [f"{one:016x}" for one in lot.integers(0, 2**63, ROWS)],
        "license": "CC0",
        "attribution": "synthetic",
        "status": "ok",
        "reason": None,
    }
    Manifest(pd.DataFrame(values)).write(paths.POOL_MANIFEST)
