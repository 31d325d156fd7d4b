"""Samples per second of pretraining, end to end, side by side with lightly: ``make bench``.

Every contender is a process of its own. Turns are interleaved (ours, theirs, ours, …), the others
are frozen meanwhile, and what is reported is the median of the ratios of neighbouring turns, so
what disturbs the machine disturbs both sides. Contenders:

- ours: the training loop, view engine and SimCLR of this project, images held as uint8, precision
  as in params.yaml (auto)
- ours-fp32: the same in fp32
- lightly: the loop of lightly's own SimCLR example (LightlyDataset, SimCLRTransform, NTXentLoss,
  fp32, two workers)
- bare: forward and backward of the same network on a constant tensor, same precision; nothing is
  loaded or drawn
- peak: square matrix products in bf16, the most the processor was seen to do

``--case`` picks rows (minutes each, the time is printed), ``--batch 16 --steps 1 --pairs 1`` is a
smoke test. ``--device cuda`` runs ours, bare and peak on the GPU. Every round of turns is kept in
``.rootstock/bench`` at once: killed, the same command goes on with the rounds that are missing;
once all rows are told, the next call measures anew.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from benchmarks.contestants import Bare, Case, Lightly, Ours, Peak
from benchmarks.interleave import Contender, serve
from benchmarks.report import report
from benchmarks.results import Kept, Round, code

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
KEPT = ROOT / ".rootstock" / "bench"
SMALL: Literal["small"] = "small"
STANDARD: Literal["standard"] = "standard"

CASES = {
    "resnet18-32": Case(
        "resnet18",
        32,
        SMALL,
        "cifar10.zip",
        {"lightly": 2.0, "lightly/fp32": 1.1, "bare": 0.95, "peak": 0.8},
        1,
    ),
    "resnet18-32-imagenet-stem": Case("resnet18", 32, STANDARD, "cifar10.zip", {"lightly": 2.5}, 6),
    "vit-tiny-32": Case(
        "vit_tiny_patch16_224", 32, SMALL, "cifar10.zip", {"lightly": 2.0, "peak": 0.5}, 1
    ),
    "resnet18-64": Case("resnet18", 64, STANDARD, "tiny-imagenet-40.zip", {"lightly": 2.5}, 2),
}
GPU_CASES = {
    "resnet18-32": Case("resnet18", 32, SMALL, "cifar10.zip", {"bare": 0.9}, 40),
    "vit-small-224": Case(
        "vit_small_patch16_224", 224, STANDARD, "tiny-imagenet-40.zip", {"bare": 0.9}, 20
    ),
}
ON_CPU, ON_GPU = ("ours", "lightly", "ours-fp32", "bare", "peak"), ("ours", "bare", "peak")
NEEDED = {
    "lightly": {"lightly"},
    "lightly/fp32": {"lightly", "ours-fp32"},
    "bare": {"bare"},
    "peak": {"bare", "peak"},
}
"""Whom a target is measured against, besides ours."""


def extract(case: Case, images: int, directory: Path) -> Path:
    """Some JPEGs of an archive, evenly spread over it, in one folder."""
    folder = directory / case.archive.removesuffix(".zip") / "all"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        with zipfile.ZipFile(DATA / case.archive) as archive:
            names = [
                name
                for name in archive.namelist()
                if "/test/" not in name and name.lower().endswith((".jpg", ".jpeg"))
            ]
            for name in names[:: max(1, len(names) // images)][:images]:
                (folder / name.replace("/", "_")).write_bytes(archive.read(name))
    return folder


def become(name: str, case: Case, folder: Path, batch: int) -> None:
    """This process is a contender from here on."""
    os.chdir(folder.parents[1])
    build: dict[str, Callable[[], Any]] = {
        "ours": lambda: Ours(case, folder, batch, "auto"),
        "ours-fp32": lambda: Ours(case, folder, batch, "fp32"),
        "lightly": lambda: Lightly(case, folder, batch),
        "bare": lambda: Bare(case, batch),
        "peak": lambda: Peak(4096),
    }
    serve(build[name]())


def compare(name: str, case: Case, given: argparse.Namespace, directory: Path) -> None:
    """Interleave the turns of all contenders of a case and print the medians of their ratios."""
    began, steps = time.monotonic(), given.steps or case.steps
    who = given.only or contenders(case, given.device)
    how = {
        "case": asdict(case),
        "who": list(who),
        "steps": steps,
        "batch": given.batch,
        "device": given.device,
        "code": code(),
    }
    kept = Kept(KEPT / f"{name}.json", how)
    if missing := max(0, given.pairs - len(kept.rounds)):
        print(
            f"{name}: {missing} of {given.pairs} rounds of {', '.join(who)}",
            file=sys.stderr,
            flush=True,
        )
        folder = extract(case, max(2 * given.batch, 1024), directory)
        command = [
            sys.executable,
            "-m",
            "benchmarks.throughput",
            "--batch",
            str(given.batch),
            "--folder",
            str(folder),
            "--case",
            name,
        ]
        command += ["--device", given.device]
        with ExitStack() as stack:
            running = {
                one: stack.enter_context(
                    Contender([*command, "--serve", one], directory / f"{name}-{one}.log")
                )
                for one in who
            }
            for contender in running.values():
                contender.turn(1)  # warms up
            for _ in range(missing):
                kept.add(a_round(name, running, steps))
    print(
        f"\n{name}: {case.backbone}, {case.size} px, batch {given.batch}, {given.pairs} interleaved"
        f" turns of {steps} steps"
    )
    turns = {one: [taken[one] for taken in kept.rounds[: given.pairs]] for one in who}
    report(case.targets, turns, steps * given.batch)
    print(f"  took {time.monotonic() - began:.0f} s", flush=True)


def contenders(case: Case, device: str) -> Sequence[str]:
    """Those that the targets of a case are about."""
    needed = {"ours"}.union(*(NEEDED[label] for label in case.targets))
    return [one for one in (ON_GPU if device == "cuda" else ON_CPU) if one in needed]


def a_round(name: str, running: Mapping[str, Contender], steps: int) -> Round:
    """One turn of each."""
    taken = {}
    for one, contender in running.items():
        taken[one] = contender.turn(steps)
        print(f"{name}, {one}: {taken[one]['seconds']:.2f} s", file=sys.stderr, flush=True)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--case",
        action="append",
        help=f"{', '.join(CASES)}; with cuda {', '.join(GPU_CASES)}; default: all",
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, help="in a turn; default: some seconds' worth")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--only", nargs="+", choices=ON_CPU, help="contenders; default: those the targets are about"
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    cases = GPU_CASES if given.device == "cuda" else CASES
    if unknown := set(given.case or ()) - cases.keys():
        parser.error(
            f"--case {', '.join(sorted(unknown))}: on {given.device} there are {', '.join(cases)}"
        )
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # as the stages have it; for all contenders alike
    if given.serve:
        become(given.serve, cases[given.case[0]], given.folder, given.batch)
        return
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("stopped")
    )  # contenders are frozen: only this process can end them
    began, chosen = time.monotonic(), given.case or list(cases)
    with tempfile.TemporaryDirectory() as directory:
        for name in chosen:
            compare(name, cases[name], given, Path(directory))
    for name in chosen:
        (KEPT / f"{name}.json").unlink(missing_ok=True)
    print(f"\nall of it took {(time.monotonic() - began) / 60:.1f} min")


if __name__ == "__main__":
    main()
