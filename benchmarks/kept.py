"""What a benchmark has measured so far, in a file: one that is killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.core.io import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
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
