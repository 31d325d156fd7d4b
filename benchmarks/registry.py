"""``python -m benchmarks.registry PROJECT``: how long lineage, audit and promote take with 50 versions and 500 runs in the store.

PROJECT is a checkout in which ``rootstock run`` has finished; it is copied and left alone. Commands are timed as a user waits
for them, Python's start included.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from flows import versions
from flows.environment import enter
from flows.overrides import override
from flows.tracking import Store
from flows.versions import CHAMPION, CLASSIFIER
from tests.flows.registry_store import answers, chain, classifier, version

VERSIONS, RUNS = 50, 500
REPEATS = 3


def fill(store: Store, folder: Path) -> tuple[int, int]:
    """Add versions, each with a whole chain and answers, and further runs; returns how many there are."""
    model = classifier(folder / "model")
    while len(versions.every(store, CLASSIFIER)) < VERSIONS + 1:
        number = len(versions.every(store, CLASSIFIER))
        version(store, model, f"version {number}", answers(0.9, seed=number))
        print(f"\r{number} versions", end="", file=sys.stderr, flush=True)
    spare = 0
    while (runs := len(store.client.search_runs([store.experiment], max_results=50_000))) < RUNS:
        chain(store, f"spare {spare}")
        spare += 1
    print(file=sys.stderr)
    return len(versions.every(store, CLASSIFIER)), runs


def seconds(*arguments: str) -> float:
    """The time one command takes from the shell."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "flows.cli", *arguments], capture_output=True, text=True, check=False)
    taken = time.monotonic() - began
    if done.returncode:
        sys.exit(f"rootstock {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return taken


def main() -> None:
    """Fill a copy, time each command, print a table."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        shutil.copytree(sys.argv[1], root, symlinks=True)
        os.chdir(root)
        for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
            os.environ.pop(name, None)
        enter(root)
        override([f"promote.gates.{gate}=false" for gate in ("lineage", "champion")])
        store = Store.open()
        count, runs = fill(store, Path(folder))
        print(f"{count} versions, {runs} runs, mlflow.db {Path('mlruns/mlflow.db').stat().st_size / 2**20:.1f} MiB")
        first = versions.get(store, CLASSIFIER, CHAMPION)
        image = str(pd.read_parquet("data/curated/manifest.parquet", columns=["id"])["id"].iloc[0])
        newest = versions.every(store, CLASSIFIER)[0]
        commands = {
            "lineage of the oldest": ("lineage", f"{CLASSIFIER}@{first.number}"),
            "lineage of the newest": ("lineage", f"{CLASSIFIER}@{newest.number}"),
            "lineage as a page": ("lineage", f"{CLASSIFIER}@{first.number}", "--html", str(root / "page.html")),
            "audit": ("audit", image),
            "promote --dry-run": ("promote", "--dry-run"),
        }
        store.client.set_registered_model_alias(CLASSIFIER, CHAMPION, newest.number)
        for name, arguments in commands.items():
            times = sorted(seconds(*arguments) for _ in range(REPEATS))
            print(f"{name:<24} {times[REPEATS // 2]:.2f} s  ({times[0]:.2f} … {times[-1]:.2f})", flush=True)
        store.client.delete_model_version(CLASSIFIER, first.number)  # so that promote has to register it
        print(f"{'promote, a new version':<24} {seconds('promote'):.2f} s")
        print(f"{'rollback':<24} {seconds('rollback', '--why', 'a benchmark'):.2f} s")


if __name__ == "__main__":
    main()
