"""Strangers' folders at defaults, beside a plain recipe from scratch on the same labels.

    python -m benchmarks.strangers --data DIR --recipe plain_recipe.py [--set NAME …] [--seed N …]

DIR holds zips of class folders. Every set goes through ``rootstock run`` at defaults in a clone of
this project; the plain recipe (a script of its own that imports nothing of the project) is run as
it is on the same manifest, with both of its networks, and the better of the two counts. Results are
kept in ``benchmarks/results/strangers.json`` after every step, so an interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.results import ROOT, machine
from stages.core.io import read_csv, read_json, write_json

RESULTS = ROOT / "benchmarks" / "results" / "strangers.json"
NETWORKS: dict[str, list[str]] = {
    "default": [],
    "resnet18": ["--net", "resnet18", "--side", "64"],
}
LABELS = ("1", "5", "20", "all")
FOUND = re.compile(r"validation ([\d.]+) test ([\d.]+)")


def main() -> None:
    """Run what is not in the results yet and print the table."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--data", type=Path, required=True, help="folder of zips of class folders")
    ask.add_argument("--recipe", type=Path, required=True, help="the plain recipe, a script")
    ask.add_argument("--set", dest="sets", nargs="*", help="names of zips; all by default")
    ask.add_argument("--seed", dest="seeds", type=int, nargs="*", default=[0, 1, 2])
    ask.add_argument("--budget", default="standard")
    ask.add_argument("--labels", nargs="*", default=list(LABELS))
    ask.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    ask.add_argument("--work", type=Path, default=Path(".benchmarks/strangers").resolve())
    asked = ask.parse_args()
    results: dict[str, Any] = read_json(RESULTS) if RESULTS.is_file() else {"rows": []}
    names = asked.sets or sorted(path.stem for path in asked.data.glob("*.zip"))
    for name in names:
        folder = unpacked(asked.data / f"{name}.zip", asked.work / "data")
        for seed in asked.seeds:
            project = clone(asked.work / f"{name}-{seed}-{asked.budget}")
            _ours(results, name, seed, asked.budget, project, folder)
            for labels in asked.labels:
                _plain(results, asked, name, seed, labels, project, folder)
    print(json.dumps(results["rows"][-1:], indent=1))


def unpacked(archive: Path, where: Path) -> Path:
    """Unpack a zip once and return the folder of its classes."""
    with zipfile.ZipFile(archive) as file:
        top = where / Path(file.namelist()[0]).parts[0]
        if not top.is_dir():
            file.extractall(where)
    return top.resolve()


def clone(where: Path) -> Path:
    """Return a clone of the project's commit, made where there is none."""
    if not where.is_dir():
        where.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "-q", str(ROOT), str(where)], check=True)
    return where


def keep(results: dict[str, Any], row: dict[str, Any]) -> None:
    """Add a row, with the machine and the day, and write everything down."""
    about = {"date": date.today().isoformat(), "machine": machine()}
    results["rows"].append({**row, **about})
    write_json(RESULTS, results)
    print(json.dumps(row), flush=True)


def _known(results: dict[str, Any], **wanted: Any) -> bool:
    return any(
        all(row.get(key) == value for key, value in wanted.items()) for row in results["rows"]
    )


def _ours(
    results: dict[str, Any], name: str, seed: int, budget: str, project: Path, folder: Path
) -> None:
    wanted = {"set": name, "seed": seed, "model": "shipped", "budget": budget}
    if _known(results, **wanted):
        return
    changes = (f"ingest.source=folder:{folder}", f"seed={seed}", f"budget={budget}")
    sets = [part for change in changes for part in ("--set", change)]
    began = time.monotonic()
    command = [sys.executable, "-m", "flows.cli", "run", *sets]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    with (project / "run.log").open("a") as log:
        done = subprocess.run(command, cwd=project, env=environment, stdout=log, stderr=log)
    if done.returncode not in (0, 1):  # 1: a gate refused; its figures stand all the same
        raise SystemExit(
            f"{name}, seed {seed}: rootstock run ended with {done.returncode}, see"
            f" {project}/run.log"
        )
    seconds = time.monotonic() - began
    table = read_csv(project / "reports" / "evaluate" / "table.csv")
    ladder = {
        f"{row['model']}.{row['protocol']}.{row['labels_per_class']}": float(row["accuracy"])
        for row in table
    }
    picked = read_json(project / "metrics" / "finetune.json")["picked"]
    keep(
        results,
        {
            **wanted,
            "seconds": round(seconds),
            "picked": picked,
            "gates": done.returncode,
            "ladder": ladder,
        },
    )


def _plain(
    results: dict[str, Any],
    asked: argparse.Namespace,
    name: str,
    seed: int,
    labels: str,
    project: Path,
    folder: Path,
) -> None:
    flips = read_json(project / "metrics" / "augment.json")["told_apart"]["mirrored"] < 0.7
    for network in asked.networks:
        wanted = {"set": name, "seed": seed, "model": f"plain {network}", "labels": labels}
        if _known(results, **wanted):
            continue
        options = [*NETWORKS[network], "--draw", str(seed), *(["--flip"] if flips else [])]
        if labels != "all":
            options += ["--per-class", labels]
        manifest = project / "data" / "curated" / "manifest.parquet"
        command = [sys.executable, str(asked.recipe), str(manifest), str(folder), *options]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        found = FOUND.search(done.stdout)
        if found is None:
            raise SystemExit(f"{name}: the plain recipe failed: {done.stderr[-500:]}")
        validation, test = map(float, found.groups())
        seconds = round(time.monotonic() - began)
        keep(results, {**wanted, "validation": validation, "test": test, "seconds": seconds})


if __name__ == "__main__":
    main()
