"""``rootstock plan`` of eight stages over a manifest of a million rows, everything fresh."""

from __future__ import annotations

import os
import subprocess
import sys

import pandas as pd

from benchmarks.orchestration.project import ROOT, Row, project


def measure() -> Row:
    """The row."""
    with project() as made:
        for number in range(8):
            made.stage(
                f"s{number}" if number < 7 else "last", 0, (f"s{number - 1}",) if number else ()
            )
        (made.root / "big").mkdir()
        ids = [f"{number:064x}" for number in range(1_000_000)]
        pd.DataFrame({"id": ids, "split": "train"}).to_parquet(made.root / "big/manifest.parquet")
        (made.root / ".gitignore").open("a").write("/big/\n")
        made.stages["s0"]["deps"] = ["work.py", "big"]
        made.commit()
        made.rootstock("run")
        code = (
            "import time; from pathlib import Path; from flows.project import environment;"
            " environment.enter(Path.cwd()); from flows.adapters.dvc.plan import read_plan;"
            " read_plan(); began = time.perf_counter(); plan = read_plan(); assert not"
            " any(plan.reasons.values()), plan.reasons; print(time.perf_counter() - began)"
        )
        whole = made.rootstock("plan")
        began = made.call(sys.executable, "-c", code)
        assert began
        inside = float(
            subprocess.run(
                [sys.executable, "-c", code],
                cwd=made.root,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    return (
        "`rootstock plan`, 8 stages, 1 M manifest rows",
        "1 s",
        f"{inside:.2f} s planning ({whole:.2f} s with Python's start)",
    )
