"""Speed of ingest on real files: ``python -m benchmarks.ingest CIFAR10_FOLDER [PROCESSES]``.

Prints images per second of a bare PIL loop and of ``python -m stages.ingest`` on the same files, of adding 1,000 images to the
60,000, and what fills the time. Everything happens in a temporary folder beside the data, on hard links to them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from stages.core import paths

ADDED = 1000


def pil_loop(files: list[str]) -> float:
    """Seconds to open every file, decode it and hold its pixels as an array, as a data loader without workers does."""
    began = time.monotonic()
    for file in files:
        with Image.open(file) as image:
            np.asarray(image.convert("RGB"))
    return time.monotonic() - began


def stage(project: Path) -> float:
    """Seconds of the whole stage, start of Python included."""
    began = time.monotonic()
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-m", "stages.ingest"], cwd=project, check=True, env=os.environ | {"PYTHONPATH": str(root)})
    return time.monotonic() - began


def link(files: list[str], source: Path, target: Path) -> None:
    """The same tree again, of hard links."""
    for file in files:
        place = target / Path(file).relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, place)


def main() -> None:
    """Print the figures."""
    source = Path(sys.argv[1]).resolve()
    files = sorted(str(file) for file in source.rglob("*.jp*g"))
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        project, images = Path(scratch) / "project", Path(scratch) / "images"
        project.mkdir()
        link(files, source, images)
        values = yaml.safe_load(paths.PARAMS.read_text())
        values["ingest"]["source"] = f"folder:{images}"
        (project / paths.PARAMS).write_text(yaml.safe_dump(values))
        pil_loop(files[:2000])
        loops = [pil_loop(files)]
        first = stage(project)
        loops.append(pil_loop(files))
        lot = np.random.Generator(np.random.PCG64(0))
        for number, place in enumerate(lot.permutation(len(files))[:ADDED]):
            with Image.open(files[place]) as image:
                image.transpose(Image.Transpose.ROTATE_90).save(
                    images / "train" / Path(files[place]).parent.name / f"new{number}.jpg"
                )
        grown = stage(project)
        again = stage(project)
    loop = min(loops)
    print(f"PIL loop: {len(files) / loop:,.0f} images/s ({', '.join(f'{one:.1f}' for one in loops)} s)")
    print(f"ingest: {len(files) / first:,.0f} images/s ({first:.1f} s), {loop / first:.2f} times the loop")
    print(f"adding {ADDED}: {grown:.1f} s, {grown / first:.1%} of the first ingest; nothing new: {again:.1f} s")


if __name__ == "__main__":
    main()
