"""What the two sides of a stage in a work pool say to each other: files in one folder, and a lock
that each holds while it lives.

A lock ends with the process that holds it, by whatever death, so neither side ever waits for one
that is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from flows.process.locks import Taken, lock
from stages.core import paths
from stages.core.io import read_json, write_json, write_text

FOLDER = paths.STATE / "elsewhere"


@dataclass(frozen=True)
class Mailbox:
    """One stage that a worker is asked to run; the run that asks is the asker."""

    folder: Path

    @classmethod
    def new(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> Mailbox:
        """Write down what is asked: DVC's arguments, and the settings of its process, among them no
        secret.
        """
        errand = cls((FOLDER / uuid4().hex[:12]).resolve())
        write_json(
            errand.folder / "asked.json",
            {"arguments": list(arguments), "environment": dict(environment)},
        )
        return errand

    @property
    def asked(self) -> dict[str, Any]:
        """``arguments`` and ``environment``."""
        return dict(read_json(self.folder / "asked.json"))

    @property
    def lines(self) -> Path:
        """What the stage prints."""
        return self.folder / "lines"

    @property
    def stop(self) -> Path:
        """Exists once the asker wants the stage to end politely."""
        return self.folder / "stop"

    @property
    def code(self) -> int | None:
        """The stage's exit code, once there is one."""
        path = self.folder / "code"
        return int(path.read_text()) if path.is_file() else None

    def end(self, code: int) -> None:
        """Write the exit code."""
        write_text(self.folder / "code", str(code))

    @contextmanager
    def wanting(self) -> Iterator[None]:
        """Want the result, inside the block."""
        with lock(self.folder / "wanted.lock"):
            yield

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work on it, inside the block."""
        with lock(self.folder / "working.lock"):
            (self.folder / "begun").touch()
            yield

    @property
    def wanted(self) -> bool:
        """Whether the asker still lives and waits for the result."""
        return self.folder.is_dir() and _held(self.folder / "wanted.lock")

    @property
    def begun(self) -> bool:
        """Whether a worker has begun."""
        return (self.folder / "begun").exists()

    @property
    def forsaken(self) -> bool:
        """Whether a worker began and is gone without an exit code."""
        return self.begun and not _held(self.folder / "working.lock") and self.code is None


def _held(path: Path) -> bool:
    try:
        with lock(path, patience=0):
            return False
    except Taken:
        return True
