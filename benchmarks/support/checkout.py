"""A checkout of this very project, driven through the command line as a user would."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    "budget=quick",
    "augment.policy=glyphs",
    "pretrain.epochs=2",
    "pretrain.control=null",
    "distill.backbone=test_efficientnet",
    "distill.required=true",
    "distill.epochs=2",
    "finetune.steps=20",
    "finetune.candidates=[linear,full]",
    "evaluate.labels_per_class=[1]",
    "evaluate.draws=2",
    "evaluate.finetune_draws=1",
    "evaluate.bootstrap=200",
    "promote.gates.controls=false",
    "promote.gates.collapsed=false",
)
"""The whole pipeline on the real digits, small enough for a test. So little training is worse than
its controls, and the two gates that would refuse it are off.
"""
QUICKLY = [part for assignment in QUICK for part in ("--set", assignment)]


@dataclass
class Project:
    """A checkout in a directory of its own, driven through the command line as a user would."""

    root: Path
    printed: str = ""

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "ROOTSTOCK_"))
        }
        return (
            kept
            | {
                "PYTHONPATH": str(self.root),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            }
            | extra
        )

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=self.root,
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def rootstock(self, *arguments: str, code: int = 0, **extra: str) -> str:
        """Run a command to its end; its exit code must be ``code``."""
        process = self.start(*arguments, **extra)
        output, _ = process.communicate()
        assert process.returncode == code, (
            f"rootstock {' '.join(arguments)} ended with {process.returncode}:\n{output}"
        )
        return output

    def outputs(self) -> dict[str, str]:
        """Every output DVC knows, with its hash."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text())
        return {
            out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]
        }

    def champion(self) -> list[int]:
        """The versions that carry the alias: one, or something is wrong."""
        query = (
            "select version from registered_model_aliases where name = 'rootstock-classifier' and"
            " alias = 'champion'"
        )
        with sqlite3.connect(self.root / "mlruns/mlflow.db") as store:
            return [version for (version,) in store.execute(query)]


def checkout(destination: Path) -> Project:
    """Copy what git tracks (and new files it does not ignore), as a repository with one commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, destination / name)
    commands = (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["commit", "-q", "-m", "A checkout for a test"],
    )
    identity = [
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@example.invalid",
        "-c",
        "commit.gpgsign=false",
    ]
    for command in commands:
        subprocess.run(["git", *identity, *command], cwd=destination, check=True)
    return Project(destination)
