"""What a stage has to tell while it runs, as one stream of JSON lines.

A stage never talks to MLflow or Prefect: it appends events here, and the flow that started it
forwards them live. So training runs on a machine that has neither, and a locked tracking database
cannot stop it. Times and host facts belong here, never in a DVC output.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from stages.core import paths
from stages.core.io import finite

EVENTS_VARIABLE = "ROOTSTOCK_EVENTS"


class Tracker:
    """Appends events of one stage execution to ``$ROOTSTOCK_EVENTS`` or
    ``.rootstock/events/<stage>.jsonl``.

    Event kinds: ``start`` (machine facts), ``params``, ``metrics`` (with ``step``), ``tags``,
    ``artifact`` (a path), ``progress`` (done, total), ``end`` (exit code and message).
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.path = Path(os.environ.get(EVENTS_VARIABLE) or paths.EVENTS / f"{stage}.jsonl")

    def __enter__(self) -> Tracker:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w")
        self._emit("start", stage=self.stage, machine=machine())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def params(self, values: Mapping[str, Any]) -> None:
        """Resolved parameters that params.yaml does not show (sizes found in the data, chosen
        defaults).
        """
        self._emit("params", values=dict(values))

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Numbers at a step; non-finite ones (and None) travel as text, since JSON has no NaN."""
        known = {name: math.nan if value is None else value for name, value in values.items()}
        safe = {
            name: float(value) if math.isfinite(value) else str(value)
            for name, value in known.items()
        }
        self._emit("metrics", values=safe, step=step)

    def tags(self, values: Mapping[str, str]) -> None:
        """Facts about this execution."""
        self._emit("tags", values=dict(values))

    def artifact(self, path: Path | str) -> None:
        """A file or directory outside DVC's outputs that belongs in the run (Data Docs, for
        example).
        """
        self._emit("artifact", path=str(path))

    def progress(self, done: int, total: int, **values: float | None) -> None:
        """How far the stage is, for live views."""
        self._emit("progress", done=done, total=total, values=values)

    def end(self, code: int, message: str = "") -> None:
        """How the stage ended: DVC turns every failure into 255, this keeps the stage's own exit
        code.
        """
        self._emit("end", code=code, message=message)

    def _emit(self, kind: str, **fields: Any) -> None:
        self._file.write(json.dumps(finite({"kind": kind, "time": time.time(), **fields})) + "\n")
        self._file.flush()


def machine() -> dict[str, str]:
    """What the numbers depend on besides data and parameters."""
    facts = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "host": platform.node(),
    }
    facts["cpus"] = str(os.cpu_count())
    return facts
