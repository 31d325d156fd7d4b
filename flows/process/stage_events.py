"""Follow the event stream that a running stage appends to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core import paths


@dataclass(frozen=True)
class Event:
    """One line of the stream; ``fields`` depend on ``kind`` (see stages/core/events.py)."""

    kind: str
    time: float
    fields: dict[str, Any]


class EventStream:
    """The events of one stage execution; a half-written last line waits for its rest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._rest = b""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    @classmethod
    def of(cls, stage: str, run: str) -> EventStream:
        """A fresh stream for one execution; two pipelines at once never share one."""
        return cls(paths.EVENTS / f"{stage}.{run}.jsonl")

    def new(self) -> Iterator[Event]:
        """Events appended since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return
        self._position += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            try:
                fields = json.loads(line)
            except json.JSONDecodeError:
                continue  # a killed writer leaves one broken line
            yield Event(fields.pop("kind"), fields.pop("time"), fields)
