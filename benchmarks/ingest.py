"""Speed of ingest on real files: ``python -m benchmarks.ingest CIFAR10_FOLDER [--side PIXELS]``.

Prints images per second of a bare PIL loop and of ``python -m stages.ingest`` on the same files, of
adding 1,000 images to the 60,000, of a run in which nothing is new, and the least that any program
in Python would need for the latter: to start with numpy and pyarrow, and to look up the files'
names, sizes and times. Everything happens in a temporary folder beside the data, on hard links to
them, or with ``--side`` on JPEG files of that side made from them.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from stages.core import paths
from stages.core.image.pixel_store import SHARDS

ADDED = 1000
SUBREAPER = 36


def pil_loop(files: list[str], size: int | None) -> tuple[float, float]:
    """Seconds, and processor seconds, to open every file, decode it to RGB, scale it to ``size``
    and hold its pixels as an array, as a data loader without workers does. Nothing is hashed or
    written; without a ``size`` nothing is scaled.
    """
    began, before = time.monotonic(), time.process_time()
    for file in files:
        with Image.open(file) as image:
            plain = image.convert("RGB")
            np.asarray(plain.resize((size, size), Image.Resampling.BICUBIC) if size else plain)
    return time.monotonic() - began, time.process_time() - before


def stage(project: Path) -> tuple[float, float]:
    """Seconds of the whole stage, start of Python included, and processor seconds of it with its
    workers.

    What others wrote, such as the images themselves, is on the disk before: the stage asks for its
    own files to be.
    """
    root = Path(__file__).resolve().parents[1]
    os.sync()
    began, before = time.monotonic(), processor()
    subprocess.run(
        [sys.executable, "-m", "stages.ingest"],
        cwd=project,
        check=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
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


def enlarge(files: list[str], source: Path, target: Path, side: int) -> list[str]:
    """The same tree of JPEG files ``side`` pixels wide and high."""
    places = [target / Path(file).relative_to(source) for file in files]
    for folder in {place.parent for place in places}:
        folder.mkdir(parents=True)
    with ProcessPoolExecutor() as workers:
        list(workers.map(enlarge_one, files, places, [side] * len(files), chunksize=500))
    return [str(place) for place in places]


def enlarge_one(file: str, place: Path, side: int) -> None:
    """One of them."""
    with Image.open(file) as image:
        image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC).save(place, quality=85)


def look_up(root: Path) -> float:
    """Seconds to look up name, size and times of every file below a folder, which whoever wants to
    know what is new must.
    """
    began = time.monotonic()
    folders = [str(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    entry.stat()
    return time.monotonic() - began


def shards(project: Path) -> dict[int, int]:
    """Inode of each shard of the store → its bytes."""
    found = [
        file.stat() for file in (project / paths.POOL_PIXELS).iterdir() if file.suffix in SHARDS
    ]
    return {one.st_ino: one.st_size for one in found}


def start() -> float:
    """Seconds to start Python with numpy and pyarrow's Parquet, without which there is no
    manifest.
    """
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import numpy, pyarrow.parquet"], check=True)
    return time.monotonic() - began


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="JPEG files, one folder per class, below train and test"
    )
    parser.add_argument("--side", type=int, help="make them so many pixels wide and high first")
    parser.add_argument(
        "--store-size",
        type=int,
        help=(
            "pixels of the store, which the loop scales to as well; without it what ingest chooses"
            " (of CIFAR-10 the 32 it has)"
        ),
    )
    arguments = parser.parse_args()
    source = arguments.folder.resolve()
    files = sorted(str(file) for file in source.rglob("*.jp*g"))
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        project, images = Path(scratch) / "project", Path(scratch) / "images"
        project.mkdir()
        if arguments.side:
            files = enlarge(files, source, Path(scratch) / "large", arguments.side)
            source = Path(scratch) / "large"
        link(files, source, images)
        values = yaml.safe_load(paths.PARAMS.read_text())
        values["ingest"] |= {"store_size": arguments.store_size} if arguments.store_size else {}
        values["ingest"]["source"] = f"folder:{images}"
        (project / paths.PARAMS).write_text(yaml.safe_dump(values))
        pil_loop(files[:2000], arguments.store_size)
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)  # workers whose stage has ended count here
        stage(warm_up(Path(scratch), files[0]))
        loops = [pil_loop(files, arguments.store_size)]
        first = stage(project)
        loops.append(pil_loop(files, arguments.store_size))
        lot = np.random.Generator(np.random.PCG64(0))
        for number, place in enumerate(lot.permutation(len(files))[:ADDED]):
            with Image.open(files[place]) as image:
                image.transpose(Image.Transpose.ROTATE_90).save(
                    images / "train" / Path(files[place]).parent.name / f"new{number}.jpg"
                )
        before = shards(project)
        grown = stage(project)
        after = shards(project)
        again = stage(project)
        names = min(look_up(images) for _ in range(3))
        started = min(start() for _ in range(3))
    loop, work = (statistics.mean(column) for column in zip(*loops, strict=True))
    print(
        f"PIL loop: {len(files) / loop:,.0f} images/s ({loop:.1f} s, {work:.1f} processor seconds;"
        " the mean of two)"
    )
    for name, (wall, used) in {
        "first ingest": first,
        f"adding {ADDED}": grown,
        "nothing new": again,
    }.items():
        print(
            f"{name}: {wall:.1f} s, {used:.1f} processor seconds; {wall / first[0]:.1%} and"
            f" {used / first[1]:.1%} of the first"
        )
    wall, used = grown[0] - again[0], grown[1] - again[1]
    print(
        f"the {ADDED} themselves: {wall:.2f} s, {used:.2f} processor seconds; {wall / first[0]:.1%}"
        f" and {used / first[1]:.1%}"
    )
    print(
        f"names, sizes and times of {len(files) + ADDED:,} files alone: {names:.2f} s,"
        f" {names / first[0]:.1%} of the first"
    )
    print(
        f"starting Python with numpy and pyarrow alone: {started:.2f} s, {started / first[0]:.1%}"
        " of the first"
    )
    new = [size for inode, size in after.items() if inode not in before]
    print(
        f"written anew: {len(new)} of {len(after)} shards, {sum(new) / 1e6:.0f} of"
        f" {sum(after.values()) / 1e6:.0f} MB"
    )
    rate = f"{len(files) / first[0]:,.0f} images/s, {loop / first[0]:.2f} times the loop"
    print(f"first ingest: {rate}; processor time {first[1] / work:.2f} of the loop's")


if __name__ == "__main__":
    main()
