"""What orchestration costs: ``python -m benchmarks.orchestration [NAME…]`` prints the table that docs/benchmarks.md shows.

Every case builds a small project in a temporary directory and compares two ways of doing the same work, side by side in one
run, since the machine is never quiet. Needs nothing but the project's own environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """\
import os, sys, time
from pathlib import Path
import yaml
name, out, seconds, *inputs = sys.argv[1:]
text = "".join(Path(path).read_text() for path in inputs)
time.sleep(float(seconds))
params = yaml.safe_load(Path("params.yaml").read_text())
Path(out).parent.mkdir(parents=True, exist_ok=True)
Path(out).write_text(text + f"{name} {params['pretrain']['method']} {params['seed']}\\n")
if name == "last":
    import json
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/last.json").write_text(json.dumps({"score": float(len(text)) + params["seed"]}))
"""
IDENTITY = ("-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "-c", "commit.gpgsign=false")


class Project:
    """A DVC project of stages that sleep."""

    def __init__(self, root: Path) -> None:
        self.root, self.stages = root, dict[str, dict[str, object]]()
        shutil.copy(ROOT / "params.yaml", root)
        shutil.copytree(ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
        (root / "work.py").write_text(SCRIPT)
        (root / ".gitignore").write_text("/.rootstock/\n/.prefect/\n/mlruns/\n/data/\n/metrics/\n/reports/\n")

    def stage(
        self, name: str, seconds: float, inputs: tuple[str, ...] = (), params: tuple[str, ...] = (), data: bool = False
    ) -> None:
        """One more stage."""
        sources = [f"data/{item}" for item in inputs]
        self.stages[name] = {
            "cmd": " ".join(["python work.py", name, f"data/{name}", str(seconds), *sources]),
            "deps": ["work.py", *sources],
            "params": list(params) or ["ingest.max_pixels"],
            "outs": [f"data/{name}"],
            **({"metrics": ["metrics/last.json"], "meta": {"headline": "score"}} if name == "last" else {}),
            **({"meta": {"data": True}} if data else {}),
        }

    def commit(self) -> None:
        """Write dvc.yaml and commit."""
        (self.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": self.stages}, sort_keys=False))
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "bench"]):
            subprocess.run(["git", *IDENTITY, *command], cwd=self.root, check=True)

    def call(self, *command: str) -> float:
        """Seconds of a command."""
        python = str(Path(sys.executable).parent)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{python}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
        began = time.perf_counter()
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return time.perf_counter() - began

    def again(self) -> None:
        """A first run that makes the stores, then every stage stale."""
        self.rootstock("run")
        (self.root / "work.py").write_text(SCRIPT + "# changed\n")

    def rootstock(self, *arguments: str) -> float:
        """Seconds of a ``rootstock`` command."""
        return self.call(sys.executable, "-m", "flows.cli", *arguments)


@contextlib.contextmanager
def project() -> Iterator[Project]:
    """One in a directory that goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield Project(Path(folder))


@contextlib.contextmanager
def served() -> Iterator[None]:
    """A Prefect server that runs through."""
    from flows.environment import QUIET
    from flows.server import prefect_server

    with tempfile.TemporaryDirectory() as home:
        os.environ.update(QUIET)
        os.environ["PREFECT_HOME"] = home
        with prefect_server() as server:
            server.wait()
            yield


def overhead() -> tuple[str, str, str]:
    """``rootstock run`` of four stages in a row over the bare commands."""
    with project() as made:
        for number in range(4):
            made.stage(f"s{number}" if number < 3 else "last", 0.5, (f"s{number - 1}",) if number else ())
        made.commit()
        made.again()
        bare = sum(made.call("/bin/sh", "-c", str(stage["cmd"])) for stage in made.stages.values())
        shutil.rmtree(made.root / "data")
        run = made.rootstock("run")
    return "overhead per stage of `rootstock run` over the bare stages", "1 s", f"{(run - bare) / 4:.2f} s"


def plan() -> tuple[str, str, str]:
    """``rootstock plan`` of eight stages over a manifest of a million rows, everything fresh."""
    import pandas as pd

    with project() as made:
        for number in range(8):
            made.stage(f"s{number}" if number < 7 else "last", 0, (f"s{number - 1}",) if number else ())
        (made.root / "big").mkdir()
        ids = [f"{number:064x}" for number in range(1_000_000)]
        pd.DataFrame({"id": ids, "split": "train"}).to_parquet(made.root / "big/manifest.parquet")
        (made.root / ".gitignore").open("a").write("/big/\n")
        made.stages["s0"]["deps"] = ["work.py", "big"]
        made.commit()
        made.rootstock("run")
        code = (
            "import time; from pathlib import Path; from flows import environment; environment.enter(Path.cwd()); "
            "from flows.dvc import read_plan; read_plan(); began = time.perf_counter(); plan = read_plan(); "
            "assert not any(plan.reasons.values()), plan.reasons; print(time.perf_counter() - began)"
        )
        whole = made.rootstock("plan")
        began = made.call(sys.executable, "-c", code)
        assert began
        inside = float(subprocess.run([sys.executable, "-c", code], cwd=made.root, env={**os.environ, "PYTHONPATH": str(ROOT)},
                                      capture_output=True, text=True, check=True).stdout)  # fmt: skip
    return "`rootstock plan`, 8 stages, 1 M manifest rows", "1 s", f"{inside:.2f} s planning ({whole:.2f} s with Python's start)"


def side_by_side() -> tuple[str, str, str]:
    """Six independent stages of 1.5 s against ``dvc repro``."""
    seconds = []
    for runner in ("rootstock", "dvc"):
        with project() as made:
            for number in range(5):
                made.stage(f"s{number}", 1.5)
            made.stage("last", 1.5)
            made.commit()
            made.again()
            seconds.append(
                made.rootstock("run") if runner == "rootstock" else made.call(sys.executable, "-m", "dvc", "repro", "-q")
            )
    ours, theirs = seconds
    return "six independent stages of 1.5 s ÷ `dvc repro`", "0.5", f"{ours / theirs:.2f} ({ours:.1f} s ÷ {theirs:.1f} s)"


def experiment() -> tuple[str, str, str]:
    """24 cells, of each of which two thirds are shared, against the same cells one by one, nothing shared."""
    seeds = 24
    with project() as made:
        made.stage("pool", 0, data=True)
        made.stage("first", 4, ("pool",))
        made.stage("second", 4, ("first",))
        made.stage("last", 4, ("second",), ("seed",))
        made.commit()
        made.call(sys.executable, "-m", "dvc", "repro", "-q", "-s", "pool")
        ours = made.rootstock("experiment", "--seeds", str(seeds), "--jobs", "4", "--name", "bench")
    with project() as made:
        made.stages = {}
        for name, inputs, params in (
            ("pool", (), ()),
            ("first", ("pool",), ()),
            ("second", ("first",), ()),
            ("last", ("second",), ("seed",)),
        ):
            made.stage(name, 0 if name == "pool" else 4, inputs, params)
        made.commit()
        sample = 2
        alone = 0.0
        for seed in range(sample):
            text = (made.root / "params.yaml").read_text()
            (made.root / "params.yaml").write_text(text.replace(f"seed: {max(seed - 1, 0)}", f"seed: {seed}", 1))
            alone += made.call(sys.executable, "-m", "dvc", "repro", "-q", "--force")
        theirs = alone / sample * seeds
    words = f"{ours / theirs:.2f} ({ours:.0f} s ÷ {theirs:.0f} s, {sample} cells measured, times {seeds // sample})"
    return "24-cell experiment, two thirds shared ÷ one by one without sharing", "0.45", words


def endurance() -> tuple[str, str, str]:
    """200 no-op runs one after the other in one process, against a server that stays: what a worker's machine bears for months.

    Memory is what each process alone takes (proportional set size), before the run that ends the warm-up, a tenth of all, and
    after the last; the median of three looks, a garbage collection before each.
    """
    import threading

    from flows import environment

    runs = int(os.environ.get("BENCH_RUNS", "200"))
    here = Path.cwd()
    with project() as made:
        for number in range(3):
            made.stage(f"s{number}" if number < 2 else "last", 0, (f"s{number - 1}",) if number else ())
        made.commit()
        os.environ["PYTHONPATH"] = str(ROOT)
        environment.enter(made.root)
        from flows.pipeline import Request, run_pipeline

        locked, looks, before = 0, list[dict[str, float]](), 0
        for number in range(runs):
            try:
                with contextlib.redirect_stdout(None):
                    run_pipeline(Request())
            except Exception as error:
                if "locked" not in str(error):
                    raise
                locked += 1
            if number == runs // 10:
                before = len(_offspring())
            looks.append(_resident())
            if number % 20 == 0:
                print(f"run {number}: {_megabytes(looks[-1])}", file=sys.stderr, flush=True)
        leaked = len(_offspring()) - before
        os.chdir(here)
    warm, last = _median(looks[runs // 10 : runs // 10 + 3]), _median(looks[-3:])
    growth = 100 * (sum(last.values()) / sum(warm.values()) - 1)
    words = f"{growth:.1f} %, {leaked}, {locked} ({runs} runs, {threading.active_count()} threads at the end; MB after run "
    words += f"{runs // 10} and at the end: {_megabytes(warm)}; {_megabytes(last)})"
    return f"{runs} no-op runs: memory growth, leaked processes, locked-database errors", "5 %, 0, 0", words


def _median(looks: list[dict[str, float]]) -> dict[str, float]:
    import statistics

    return {name: statistics.median(look.get(name, 0.0) for look in looks) for name in looks[-1]}


def _megabytes(look: dict[str, float]) -> str:
    return ", ".join(f"{name} {size:.0f}" for name, size in look.items())


def _resident() -> dict[str, float]:
    """Megabytes of this process, of those beside it that import DVC and write to MLflow, and of Prefect's server."""
    import gc

    gc.collect()
    sizes = {"the runs' process": 0.0, "flows.forkserver": 0.0, "flows.scribe": 0.0, "uvicorn": 0.0}
    for pid in (os.getpid(), *_offspring()):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            name = next((name for name in sizes if name in words), None)
            name = "the runs' process" if pid == os.getpid() else name
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if name:
                sizes[name] += sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
    return sizes


def _offspring() -> list[int]:
    """Every living process below this one."""
    parents = dict[int, int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, new = list[int](), [os.getpid()]
    while new:
        new = [pid for pid, parent in parents.items() if parent in new]
        found += new
    return found


CASES: dict[str, Callable[[], tuple[str, str, str]]] = {
    "overhead": overhead,
    "plan": plan,
    "side_by_side": side_by_side,
    "experiment": experiment,
    "endurance": endurance,
}


def main() -> None:
    """Print the table."""
    print("| what | at most | measured |\n|---|---|---|", flush=True)
    with served():
        for name in sys.argv[1:] or CASES:
            what, target, measured = CASES[name]()
            print(f"| {what} | {target} | {measured} |", flush=True)


if __name__ == "__main__":
    main()
