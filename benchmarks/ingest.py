"""Speed of ingest on real files: ``python -m benchmarks.ingest CIFAR10_FOLDER``.

Prints images per second of a bare PIL loop and of ``python -m stages.ingest`` on the same files, of adding 1,000 images to the
60,000, and what fills the time. Everything happens in a temporary folder beside the data, on hard links to them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import statistics
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
SUBREAPER = 36


def pil_loop(files: list[str]) -> tuple[float, float]:
    """Seconds, and processor seconds, to open every file, decode it to RGB and hold its pixels as an array (32 x 32 is the
    size of the store, so there is nothing to scale), as a data loader without workers does. Nothing is hashed or written."""
    began, before = time.monotonic(), time.process_time()
    for file in files:
        with Image.open(file) as image:
            np.asarray(image.convert("RGB"))
    return time.monotonic() - began, time.process_time() - before


def stage(project: Path) -> tuple[float, float]:
    """Seconds of the whole stage, start of Python included, and processor seconds of it with its workers."""
    root = Path(__file__).resolve().parents[1]
    began, before = time.monotonic(), processor()
    subprocess.run([sys.executable, "-m", "stages.ingest"], cwd=project, check=True, env=os.environ | {"PYTHONPATH": str(root)})
    taken = time.monotonic() - began
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()  # the workers, which end after the stage
    return taken, processor() - before


def processor() -> float:
    """Processor seconds of all that this process started and that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def warm_up(scratch: Path, file: str) -> Path:
    """A project of one image: its ingest brings Python's modules into memory."""
    project = scratch / "warm"
    (project / "one").mkdir(parents=True)
    os.link(file, project / "one" / "1.jpg")
    values = yaml.safe_load(paths.PARAMS.read_text())
    values["ingest"]["source"] = f"folder:{project / 'one'}"
    (project / paths.PARAMS).write_text(yaml.safe_dump(values))
    return project


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
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)  # workers whose stage has ended count here
        stage(warm_up(Path(scratch), files[0]))
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
    loop, work = (statistics.mean(column) for column in zip(*loops, strict=True))
    print(f"PIL loop: {len(files) / loop:,.0f} images/s ({loop:.1f} s, {work:.1f} processor seconds; the mean of two)")
    for name, (wall, used) in {"first ingest": first, f"adding {ADDED}": grown, "nothing new": again}.items():
        print(f"{name}: {wall:.1f} s, {used:.1f} processor seconds; {wall / first[0]:.1%} and {used / first[1]:.1%} of the first")
    rate = f"{len(files) / first[0]:,.0f} images/s, {loop / first[0]:.2f} times the loop"
    print(f"first ingest: {rate}; processor time {first[1] / work:.2f} of the loop's")


if __name__ == "__main__":
    main()
