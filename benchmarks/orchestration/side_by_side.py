"""Six independent stages of 1.5 s against ``dvc repro``."""

from __future__ import annotations

import sys

from benchmarks.orchestration.project import Row, project


def measure() -> Row:
    """The row."""
    seconds = []
    for runner in ("rootstock", "dvc"):
        with project() as made:
            for number in range(5):
                made.stage(f"s{number}", 1.5)
            made.stage("last", 1.5)
            made.commit()
            made.again()
            seconds.append(
                made.rootstock("run")
                if runner == "rootstock"
                else made.call(sys.executable, "-m", "dvc", "repro", "-q")
            )
    ours, theirs = seconds
    return (
        "six independent stages of 1.5 s ÷ `dvc repro`",
        "0.5",
        f"{ours / theirs:.2f} ({ours:.1f} s ÷ {theirs:.1f} s)",
    )
