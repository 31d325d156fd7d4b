"""Results of benchmarks: rounds kept while one runs, figures kept for docs/benchmarks.md."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from stages.core.io import read_json, write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
Round = dict[str, dict[str, float]]


def code() -> str:
    """A hash of what is measured, changes not yet committed included: rounds of other code do not
    belong together.
    """
    commands = (
        ["rev-parse", "HEAD:stages", "HEAD:benchmarks"],
        ["diff", "HEAD", "--", "stages", "benchmarks"],
    )
    said = [
        subprocess.run(["git", *words], cwd=ROOT, capture_output=True).stdout for words in commands
    ]
    return hashlib.sha256(b"".join(said)).hexdigest()[:16]


class Kept:
    """Rounds of interleaved turns (contender → what its turn answered), kept if they were made in
    the same way.
    """

    def __init__(self, file: Path, about: Mapping[str, Any]) -> None:
        self.file, self.about = file, json.loads(json.dumps(about))
        self.rounds: list[Round] = []
        if file.is_file():
            found = read_json(file)
            if found["about"] == self.about:
                self.rounds = found["rounds"]

    def add(self, one: Round) -> None:
        """Take a round in and write everything down."""
        self.rounds.append(one)
        write_json(self.file, {"about": self.about, "rounds": self.rounds})


def record(
    section: str, metric: str, command: str, result: str, target: str = "", title: str = ""
) -> None:
    """Write a figure into ``benchmarks/results/SECTION.json``, with this machine and day, in place
    of an earlier one of the same metric. ``python -m benchmarks.page`` makes the page of them.
    """
    file = RESULTS / f"{section}.json"
    kept = read_json(file) if file.is_file() else {"title": title or section, "rows": []}
    row = {
        "metric": metric,
        "command": command,
        "target": target,
        "result": result,
        "machine": machine(),
        "date": date.today().isoformat(),
    }
    rows = {one["metric"]: one for one in kept["rows"]}
    rows[metric] = {**row, "target": target or rows.get(metric, {}).get("target", "")}
    write_text(
        file, json.dumps({**kept, "rows": list(rows.values())}, indent=1, ensure_ascii=False)
    )


def machine() -> str:
    """Return the processor and the number of cores."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    return f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores"
