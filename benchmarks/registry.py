"""``python -m benchmarks.registry PROJECT``: how long lineage, audit and promote take with 50
versions and 500 runs in the store.

PROJECT is a checkout in which ``rootstock run`` has finished; it is copied and left alone. Commands
are timed as a user waits for them, Python's start included; processor seconds (of all their
processes) tell more where others use the machine too. ``--fill`` fills PROJECT itself and stops; a
filled one is timed at once.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks.results import record
from benchmarks.support.registry import answers, chain, classifier, version
from flows.adapters.mlflow.store import Store
from flows.project.environment import enter
from flows.project.params_file import override
from flows.registry import versions
from flows.registry.versions import CHAMPION, CLASSIFIER
from stages.core import paths

VERSIONS, RUNS = 50, 500
REPEATS = 3
COMPUTE = ("lineage", "champion")


def fill(store: Store, folder: Path) -> tuple[int, int]:
    """Add versions, each with a whole chain and answers, and further runs; returns how many there
    are.
    """
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


def seconds(*arguments: str) -> tuple[float, float]:
    """The time one command takes from the shell, and the processor seconds it costs."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments], capture_output=True, text=True, check=False
    )
    taken, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"rootstock {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(name: str, *arguments: str, before: Callable[[], object] = lambda: None) -> None:
    """Print the median of a few repetitions; ``before`` puts the store into the same state each
    time.
    """
    times = []
    for _ in range(REPEATS):
        before()
        times.append(seconds(*arguments))
    wall, busy = (sorted(column) for column in zip(*times, strict=True))
    middle = REPEATS // 2
    found = f"{wall[middle]:.2f} s ({wall[0]:.2f} … {wall[-1]:.2f}); {busy[middle]:.2f} processor s"
    print(f"{name:<32} {found}", flush=True)
    record("registry", name, "`python -m benchmarks.registry PROJECT`", found)


def measure_all(store: Store, page: Path) -> None:
    """Every command, one line each."""
    known = versions.every(store, CLASSIFIER)
    newest, oldest = known[0].number, known[-1].number
    workspace = next(
        version.number for version in known if Path(version.tags[versions.PATH]) == paths.FINETUNED
    )
    image = str(pd.read_parquet(paths.CURATED_MANIFEST, columns=["id"])["id"].iloc[0])

    def crown_another() -> None:
        store.client.set_registered_model_alias(CLASSIFIER, CHAMPION, newest)

    def unregister() -> None:
        crown_another()
        mine = [
            one
            for one in versions.every(store, CLASSIFIER)
            if Path(one.tags[versions.PATH]) == paths.FINETUNED
        ]
        for one in mine:
            store.client.delete_model_version(CLASSIFIER, one.number)

    measure("lineage of the oldest", "lineage", f"{CLASSIFIER}@{oldest}")
    measure("lineage of the newest", "lineage", f"{CLASSIFIER}@{newest}")
    measure("lineage as a page", "lineage", f"{CLASSIFIER}@{workspace}", "--html", str(page))
    measure("audit", "audit", image)
    measure("promote --dry-run", "promote", "--dry-run", before=crown_another)
    measure("promote, registered before", "promote", before=crown_another)
    measure("rollback", "rollback", "--why", "a benchmark")
    measure("promote, registering it", "promote", before=unregister)


def main() -> None:
    """Fill a copy, time each command, print a table."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--fill"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(arguments[0]).resolve()
        if only_fill := "--fill" in sys.argv:
            print(f"filling {root}")
        else:
            root = shutil.copytree(root, Path(folder) / "project", symlinks=True)
        os.chdir(root)
        for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
            os.environ.pop(name, None)
        enter(root)
        store = Store.open()
        count, runs = fill(store, Path(folder))
        print(
            f"{count} versions, {runs} runs, mlflow.db"
            f" {Path('mlruns/mlflow.db').stat().st_size / 2**20:.1f} MiB"
        )
        if not only_fill:
            override([f"promote.gates.{gate}=false" for gate in COMPUTE])
            measure_all(store, Path(folder) / "page.html")


if __name__ == "__main__":
    main()
