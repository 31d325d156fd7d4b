"""Samples per second of pretraining, end to end, side by side with lightly: ``make bench``.

Every contender is a process of its own that waits for its turn; turns are interleaved (ours, theirs, ours, …), so that what
disturbs the machine disturbs both, and what is reported is the median of the ratios of neighbouring turns. Contenders:

- ours: the training loop, view engine and SimCLR of this project, images held as uint8
- ours-fp32: the same without bf16
- lightly: the loop of lightly's own SimCLR example (LightlyDataset, SimCLRTransform, NTXentLoss, fp32, two workers)
- bare: forward and backward of the same network on a constant tensor, same precision; nothing is loaded or drawn
- peak: matrix products in bf16, what the processor can do at most

``--device cuda`` runs ours, bare and peak on the GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.contenders import Bare, Case, Lightly, Ours, Peak  # noqa: E402 (the project's root comes first)

DATA = ROOT.parent / "shared" / "data"


CASES = {
    "resnet18-32": Case(
        "resnet18", 32, "small", "cifar10.zip", {"lightly": 2.0, "lightly/fp32": 1.1, "bare": 0.95, "peak": 0.8}, 2
    ),
    "resnet18-32-imagenet-stem": Case("resnet18", 32, "standard", "cifar10.zip", {"lightly": 2.5}, 8),
    "vit-tiny-32": Case("vit_tiny_patch16_224", 32, "small", "cifar10.zip", {"lightly": 2.0, "peak": 0.5}, 2),
    "resnet18-64": Case("resnet18", 64, "standard", "tiny-imagenet-40.zip", {"lightly": 2.5}, 4),
}
GPU_CASES = {
    "resnet18-32": Case("resnet18", 32, "small", "cifar10.zip", {"bare": 0.9}, 40),
    "vit-small-224": Case("vit_small_patch16_224", 224, "standard", "tiny-imagenet-40.zip", {"bare": 0.9}, 20),
}


def extract(case: Case, images: int, directory: Path) -> Path:
    """The first JPEGs of an archive, in one folder."""
    folder = directory / case.archive.removesuffix(".zip") / "all"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        with zipfile.ZipFile(DATA / case.archive) as archive:
            names = [name for name in archive.namelist() if "/test/" not in name and name.endswith((".jpg", ".jpeg", ".JPEG"))]
            for name in names[:: max(1, len(names) // images)][:images]:
                (folder / name.replace("/", "_")).write_bytes(archive.read(name))
    return folder


def serve(name: str, case: Case, folder: Path, batch: int) -> None:
    """A contender: a line in, a turn, a line of JSON out."""
    os.chdir(tempfile.mkdtemp())
    build: dict[str, Callable[[], Any]] = {
        "ours": lambda: Ours(case, folder, batch, "auto"),
        "ours-fp32": lambda: Ours(case, folder, batch, "fp32"),
        "lightly": lambda: Lightly(case, folder, batch),
        "bare": lambda: Bare(case, batch),
        "peak": lambda: Peak(4096),
    }
    contender, out = build[name](), sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        print(json.dumps(contender.turn(int(line))), file=out, flush=True)


def compare(name: str, case: Case, contenders: list[str], pairs: int, batch: int, directory: Path) -> None:
    """Interleave the turns of all contenders of a case and print the medians of their ratios."""
    folder = extract(case, max(2 * batch, 1024), directory)
    command = [sys.executable, __file__, "--batch", str(batch), "--folder", str(folder), "--case", name]
    command += ["--device", "cuda"] if case is GPU_CASES.get(name) else []
    running = {
        who: subprocess.Popen(
            [*command, "--serve", who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for who in contenders
    }
    turns: dict[str, list[dict[str, float]]] = {who: [] for who in contenders}
    for number in range(pairs + 1):
        for who, process in running.items():
            assert process.stdin and process.stdout
            process.stdin.write(f"{case.steps if number else 1}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if number:  # the first turn warms up
                turns[who].append(answer)
    for process in running.values():
        process.communicate()
    report(name, case, turns, batch)


def report(name: str, case: Case, turns: dict[str, list[dict[str, float]]], batch: int) -> None:
    """Rates and ratios of one case."""

    def rates(who: str, what: str = "samples") -> list[float]:
        return [(turn["flops"] if what == "flops" else case.steps * batch) / turn["seconds"] for turn in turns[who]]

    print(
        f"\n{name}: {case.backbone}, {case.size} px, batch {batch}, {len(turns['ours'])} interleaved turns of {case.steps} steps"
    )
    for who in turns:
        if who != "peak":
            share = statistics.median(turn.get("data_and_views", 0.0) / turn["seconds"] for turn in turns[who])
            held = max(turn.get("memory", 0.0) for turn in turns[who])
            rate = statistics.median(rates(who))
            print(f"  {who:<10} {rate:9.1f} samples/s   data and views {share:5.1%}   memory {held:6.0f} MiB")
    pairs = {"lightly": ("ours", "lightly"), "lightly/fp32": ("ours-fp32", "lightly"), "bare": ("ours", "bare")}
    for label, (mine, other) in pairs.items():
        if mine in turns and other in turns:
            line([a / b for a, b in zip(rates(mine), rates(other), strict=True)], f"{mine} ÷ {other}", case.targets.get(label))
    if {"ours", "bare", "peak"} <= turns.keys():
        work = turns["bare"][0]["flops"] / (case.steps * batch)
        shares = [mine * work / best for mine, best in zip(rates("ours"), rates("peak", "flops"), strict=True)]
        line(
            shares,
            f"ours ÷ bf16 matmul peak ({statistics.median(rates('peak', 'flops')) / 1e12:.2f} TFLOP/s)",
            case.targets.get("peak"),
        )
    if {"ours", "lightly"} <= turns.keys():
        line(
            [a["memory"] / b["memory"] for a, b in zip(turns["ours"], turns["lightly"], strict=True)], "memory ÷ lightly's", None
        )


def line(ratios: list[float], label: str, target: float | None) -> None:
    """One ratio: median, range, and the figure to reach."""
    goal = f"   to reach: {target}" if target else ""
    print(f"  {label:<44} {statistics.median(ratios):6.2f}   ({min(ratios):.2f} to {max(ratios):.2f}){goal}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="one or more of the cases; default: all")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", nargs="+", help="contenders; default: all that the device has")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    cases = GPU_CASES if given.device == "cuda" else CASES
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if given.serve:
        serve(given.serve, cases[given.case[0]], given.folder, given.batch)
        return
    default = ["ours", "bare", "peak"] if given.device == "cuda" else ["ours", "lightly", "ours-fp32", "bare", "peak"]
    with tempfile.TemporaryDirectory() as directory:
        for name in given.case or cases:
            compare(name, cases[name], given.only or default, given.pairs, given.batch, Path(directory))


if __name__ == "__main__":
    main()
