"""A small DVC project with real stages on ``stages.core``: four scripts that take no time, every
execution counted.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.support.checkout import ROOT, Project
from tests.support.toy_project import Project as InProcess

PIPELINE = """\
stages:
  ingest:
    cmd: python ingest.py
    deps: [ingest.py, source.txt]
    params: [ingest.labelled_fraction]
    outs: [data/pool]
    meta: {data: true}
  curate:
    cmd: python curate.py
    deps: [curate.py, data/pool]
    params: [curate.budget]
    outs: [data/curated.json]
  pretrain:
    cmd: python pretrain.py
    deps: [pretrain.py, data/curated.json]
    params: [pretrain.method, pretrain.epochs, seed]
    outs: [models/pretrained.json]
  evaluate:
    cmd: python evaluate.py
    deps: [evaluate.py, models/pretrained.json]
    outs:
      - metrics/evaluate.json
    meta: {headline: finetuned.accuracy}
"""

HEAD = """\
import hashlib, os, time
from pathlib import Path
from stages.core.errors import Refused
from stages.core.io import read_json, write_json
from stages.core.stage import stage

def count(name):
    log = Path(os.environ["TINY_LOG"])
    with log.open("a") as file:
        file.write(f"{name} {os.getpid()}\\n")
    time.sleep(float(os.environ.get("TINY_SLEEP", "0")))
"""

STAGES = {
    "ingest": (
        """
@stage("ingest")
def main(params, track):
    count("ingest")
    write_json("data/pool/values.json", [float(x) for x in Path("source.txt").read_text().split()])
"""
    ),
    "curate": (
        """
@stage("curate")
def main(params, track):
    count("curate")
    values = read_json("data/pool/values.json")
    write_json("data/curated.json", values[: max(1, int(len(values) * params.curate.budget))])
"""
    ),
    "pretrain": (
        """
@stage("pretrain")
def main(params, track):
    count("pretrain")
    if params.pretrain.method == "instance" and os.environ.get("TINY_BREAK"):
        raise Refused("the instance method is broken today")
    values = read_json("data/curated.json")
    gain = {"simclr": 0.1, "barlow_twins": 0.2}.get(params.pretrain.method, 0.0)
    epochs = 30 if params.pretrain.epochs == "auto" else params.pretrain.epochs
    for step in range(1, epochs + 1):
        track.progress(step, epochs, loss=1 / step)
        track.metrics({"loss": 1 / step, "knn": gain * step / epochs}, step=step)
        time.sleep(float(os.environ.get("TINY_EPOCH", "0")))
    address = f"{params.seed} {params.pretrain.method} {values}".encode()  # no torch: a stage of this project takes no time
    noise = 0.02 * (hashlib.sha256(address).digest()[0] / 255 - 0.5)
    write_json("models/pretrained.json", sum(values) / len(values) + gain + noise)
"""  # noqa: E501
    ),
    "evaluate": (
        """
@stage("evaluate")
def main(params, track):
    count("evaluate")
    write_json("metrics/evaluate.json", {"finetuned": {"accuracy": read_json("models/pretrained.json")}})
"""  # noqa: E501
    ),
}


class Tiny(Project):
    """The project, with the log of its executions outside of it."""

    separate = False

    @property
    def log(self) -> Path:
        return self.root.parent / f"{self.root.name}.log"

    def environment(self, **extra: str) -> dict[str, str]:
        return super().environment() | {"PYTHONPATH": str(ROOT), "TINY_LOG": str(self.log)} | extra

    def rootstock(self, *arguments: str, code: int = 0, **extra: str) -> str:
        """In this process: the same code without the seconds of importing everything again.

        ``separate`` projects have servers of their own; Prefect keeps the address it saw first, so
        they need a process each time.
        """
        if self.separate:
            return super().rootstock(*arguments, code=code, **extra)
        done = InProcess(self.root).rootstock(*arguments, environment=self.environment(**extra))
        assert done.code == code, done
        return done.out + done.err

    def executions(self, stage: str | None = None) -> int:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return sum(stage is None or line.startswith(stage) for line in lines)

    def processes(self) -> list[int]:
        """Living processes whose working directory lies in the project."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if (entry / "cwd").readlink().is_relative_to(self.root):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def dvc(self, *arguments: str, **extra: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def version(self, name: str, values: str) -> str:
        """Make a dataset version: new source, the data stage run, a tag."""
        (self.root / "source.txt").write_text(values)
        self.dvc("repro", "-q", "-s", "ingest")
        self.commit(f"Data {name}")
        self.git("tag", "-a", f"data/{name}", "-m", name)
        return self.git("rev-parse", "HEAD")


def tiny(root: Path, store: Path | None = None, values: str = "0.5 0.5 0.5 0.5") -> Tiny:
    """Build one with its first commit; ``store`` is an empty MLflow store to copy, whose making
    takes seconds.
    """
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "params.yaml", root)
    (root / "dvc.yaml").write_text(PIPELINE)
    for name, body in STAGES.items():
        (root / f"{name}.py").write_text(f"{HEAD}{body}\nmain()\n")
    (root / "source.txt").write_text(values)
    (root / ".gitignore").write_text(
        "/.rootstock/\n/.prefect/\n/mlruns/\n/data/\n/models/\n/metrics/\n/reports/\n__pycache__/\n"
    )
    shutil.copytree(
        ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local")
    )
    if store:
        shutil.copytree(store, root / "mlruns")
    project = Tiny(root)
    project.git("init", "-q", "-b", "main")
    for key, value in (
        ("user.name", "test"),
        ("user.email", "test@example.invalid"),
        ("commit.gpgsign", "false"),
    ):
        project.git("config", key, value)
    project.commit("Start")
    return project
