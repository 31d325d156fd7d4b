"""A DVC project of stages that sleep, and a Prefect server for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

Row = tuple[str, str, str]
"""What is measured, at most how much it may be, and what was found."""
ROOT = Path(__file__).resolve().parents[2]
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
IDENTITY = (
    "-c",
    "user.name=bench",
    "-c",
    "user.email=bench@example.invalid",
    "-c",
    "commit.gpgsign=false",
)


class Project:
    """A DVC project of stages that sleep."""

    def __init__(self, root: Path) -> None:
        self.root, self.stages = root, dict[str, dict[str, object]]()
        shutil.copy(ROOT / "params.yaml", root)
        shutil.copytree(
            ROOT / ".dvc",
            root / ".dvc",
            ignore=shutil.ignore_patterns("cache", "tmp", "config.local"),
        )
        (root / "work.py").write_text(SCRIPT)
        (root / ".gitignore").write_text(
            "/.rootstock/\n/.prefect/\n/mlruns/\n/data/\n/metrics/\n/reports/\n"
        )

    def stage(
        self,
        name: str,
        seconds: float,
        inputs: tuple[str, ...] = (),
        params: tuple[str, ...] = (),
        data: bool = False,
    ) -> None:
        """One more stage."""
        sources = [f"data/{item}" for item in inputs]
        self.stages[name] = {
            "cmd": " ".join(["python work.py", name, f"data/{name}", str(seconds), *sources]),
            "deps": ["work.py", *sources],
            "params": list(params) or ["ingest.max_pixels"],
            "outs": [f"data/{name}"],
            **(
                {"metrics": ["metrics/last.json"], "meta": {"headline": "score"}}
                if name == "last"
                else {}
            ),
            **({"meta": {"data": True}} if data else {}),
        }

    def commit(self) -> None:
        """Write dvc.yaml and commit."""
        (self.root / "dvc.yaml").write_text(
            yaml.safe_dump({"stages": self.stages}, sort_keys=False)
        )
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "bench"]):
            subprocess.run(["git", *IDENTITY, *command], cwd=self.root, check=True)

    def call(self, *command: str) -> float:
        """Seconds of a command."""
        python = str(Path(sys.executable).parent)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{python}:{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
        }
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )
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
    """A Prefect server that runs through; the environment is afterwards what it was."""
    from flows.adapters.prefect.server import prefect_server
    from flows.project.environment import QUIET

    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as home:
        os.environ.update({**QUIET, "PREFECT_HOME": home})
        try:
            with prefect_server() as server:
                server.wait()
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)
