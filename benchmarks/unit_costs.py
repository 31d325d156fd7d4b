"""What one more image costs each stage in time and storage, and its peak memory: ``python -m
benchmarks.unit_costs``.

The stages run, one process each, on two samples of a zip of JPEGs; the difference between the two
runs, divided by the difference in images, is the unit cost, so what starting costs is not in it.
Then the same for 1 M, 100 M and 1 B images, by multiplication. Memory is not multiplied: batches
grow with the data only up to a bound, and most of a stage's memory is torch. Training is per image
and epoch, evaluation shortened (``CHANGES``). Processor time is of all threads; it takes about five
minutes of it. What a stage cost is kept in ``.rootstock/bench`` at once: killed, the same command
goes on with the next stage.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from benchmarks.results import Kept, code

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".rootstock" / "bench"
DATA = ROOT.parent / "shared" / "data"
STAGES = ("ingest", "validate", "curate", "augment", "pretrain", "distill", "finetune", "evaluate")
CHANGES = {
    "ingest": {"source": "folder:images", "labelled_fraction": 0.25},
    "pretrain": {"epochs": 1, "control": None},
    "distill": {"backbone": "test_efficientnet", "required": True, "epochs": 1},
    "finetune": {"steps": 10},
    "evaluate": {"labels_per_class": [1], "draws": 1, "finetune_draws": 1, "bootstrap": 100},
}
WRITTEN = ("data", "models", "metrics", "reports")
SCALES = {"1 M": 1e6, "100 M": 1e8, "1 B": 1e9}


@dataclass(frozen=True)
class Cost:
    """Processor seconds, peak memory and bytes on disk of a stage."""

    seconds: float
    memory: float
    written: float


def extract(archive: Path, images: int, directory: Path) -> None:
    """Evenly spread JPEGs of a zip with its class folders, as ``images/``."""
    with zipfile.ZipFile(archive) as opened:
        names = [
            name
            for name in opened.namelist()
            if "/test/" not in name and name.lower().endswith((".jpg", ".jpeg"))
        ]
        for name in names[:: len(names) // images][:images]:
            file = directory / "images" / Path(name).parent.name / Path(name).name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(opened.read(name))


def measure(archive: Path, images: int) -> dict[str, Cost]:
    """Run every stage on so many images, from the first that is not done yet."""
    directory = KEPT / f"unit-{images}"
    kept = Kept(
        KEPT / f"unit-{images}.json", {"archive": archive.name, "changes": CHANGES, "code": code()}
    )
    if not kept.rounds:
        shutil.rmtree(directory, ignore_errors=True)
        extract(archive, images, directory)
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        for section, values in CHANGES.items():
            params[section].update(values)
        (directory / "params.yaml").write_text(yaml.safe_dump(params))
    costs = {stage: Cost(**found) for done in kept.rounds for stage, found in done.items()}
    for stage in STAGES[len(costs) :]:
        one = costs[stage] = run(stage, directory, stored(directory))
        kept.add({stage: asdict(one)})
        told = (
            f"{one.seconds:.1f} s, {one.memory / 2**20:.0f} MiB at most, {one.written / 1e6:.2f} MB"
            " written"
        )
        print(f"{images} images, {stage}: {told}", file=sys.stderr, flush=True)
    return costs


def run(stage: str, directory: Path, before: int) -> Cost:
    """One stage in a process of its own; memory is that of its largest process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=directory,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{stage} failed: {(directory / 'log').read_text().strip().splitlines()[-1]}")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024.0, stored(directory) - before)


def stored(directory: Path) -> int:
    """Bytes of everything the stages hand over."""
    return sum(
        file.stat().st_size
        for part in WRITTEN
        for file in (directory / part).rglob("*")
        if file.is_file()
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", type=Path, default=DATA / "tiny-imagenet-40.zip")
    parser.add_argument("--images", type=int, nargs=2, default=(400, 1200))
    given = parser.parse_args()
    small, large = (measure(given.archive, images) for images in given.images)
    more = given.images[1] - given.images[0]
    scales = "".join(f"{f'{name} images':>24}" for name in SCALES)
    print(f"{'stage':<10}{'ms/image':>10}{'kB written':>12}{'MiB memory':>14}{scales}")
    for stage in STAGES:
        less, lots = small[stage], large[stage]
        seconds, written = (
            max(0.0, lots.seconds - less.seconds) / more,
            max(0, lots.written - less.written) / more,
        )
        peaks = f"{less.memory / 2**20:,.0f}, {lots.memory / 2**20:,.0f}"
        told = "".join(
            f"{f'{seconds * n / 3600:,.1f} h, {written * n / 1e9:,.1f} GB':>24}"
            for n in SCALES.values()
        )
        print(f"{stage:<10}{seconds * 1e3:10.2f}{written / 1e3:12.2f}{peaks:>14}{told}")
    print(
        "hours are of one processor, gigabytes are storage; training: an epoch; memory is the peak"
        " at both counts"
    )
    for images in given.images:
        shutil.rmtree(KEPT / f"unit-{images}")
        (KEPT / f"unit-{images}.json").unlink()


if __name__ == "__main__":
    main()
