"""A project whose servers and worker run as ``rootstock up`` starts them: its scheduled runs, its
memory, its logs.
"""

from __future__ import annotations

import json
import os
import sqlite3
import urllib.request
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.orchestration import memory
from benchmarks.support.checkout import Project
from flows.process.supervisor import descendants

FLOW = "rootstock-scheduled"
OVER = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]
PAGE = 200


@dataclass(frozen=True)
class Service:
    """The servers of a project."""

    project: Project

    def ends(self) -> Counter[str]:
        """Name of a final state → how many scheduled runs ended in it."""
        found: list[dict[str, Any]] = []
        while len(page := self._runs(len(found))) == PAGE:
            found += page
        return Counter(run["state"]["name"] for run in [*found, *page])

    def look(self) -> memory.Look:
        """Both servers with what they started, and the worker without its runs."""
        pids = {name: int(self._state(name)["pid"]) for name in ("prefect", "mlflow", "worker")}
        return {
            name: memory.resident([pid, *(descendants(pid) if name != "worker" else [])])
            for name, pid in pids.items()
        }

    def said(self, words: str) -> int:
        """Lines with these words in the logs of servers and worker, and in what the runs logged to
        Prefect.
        """
        count = sum(
            file.read_text(errors="replace").count(words) for file in self._folder.glob("*.log")
        )
        with closing(sqlite3.connect(self.project.root / ".prefect/prefect.db")) as store:
            logged, ended = (
                store.execute(
                    f"SELECT count(*) FROM {table} WHERE message LIKE ?", (f"%{words}%",)
                ).fetchone()[0]
                for table in ("log", "flow_run_state")
            )
        return count + int(logged) + int(ended)

    def processes(self) -> list[int]:
        """Living processes that work in the project."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if (entry / "cwd").readlink().is_relative_to(self.project.root):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def _runs(self, offset: int) -> list[dict[str, Any]]:
        body = {
            "flows": {"name": {"any_": [FLOW]}},
            "flow_runs": {"state": {"type": {"any_": OVER}}},
            "sort": "EXPECTED_START_TIME_ASC",
            "limit": PAGE,
            "offset": offset,
        }
        address = f"{self._state('prefect')['address']}/api/flow_runs/filter"
        request = urllib.request.Request(
            address, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return list(json.load(answer))

    @property
    def _folder(self) -> Path:
        return self.project.root / ".rootstock/servers"

    def _state(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self._folder / f"{name}.json").read_text()))
