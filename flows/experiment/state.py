"""The state of a running experiment on disk: which cells there are, who works on which, what came
of them.

Claims are file locks, which die with their holder, so that any number of workers on one file system
share the cells and a killed one leaves nothing to clean up. A result is one small file, written in
one step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flows.experiment.design import Cell
from flows.process.locks import Taken, lock
from stages.core.io import read_json, write_json

DEATHS_ALLOWED = 3
PATIENCE = 2.0


@dataclass(frozen=True)
class CellResult:
    """What came of one cell: ``finished`` or ``failed``, what each stage did and the MLflow run
    that says more.
    """

    identity: str
    state: str
    score: float | None = None
    error: str = ""
    seconds: float = 0.0
    run: str = ""
    stages: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


class ExperimentState:
    """The files of one experiment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, cell: Cell) -> Path:
        """Where its worktree stands while it is worked on."""
        return self.folder / "worktrees" / cell.identity

    def predictions(self, identity: str) -> Path:
        """Its predictions on the test images, kept when the worktree goes."""
        return self.folder / "predictions" / f"{identity}.parquet"

    def log(self, identity: str) -> Path:
        """What its stages printed."""
        return self.folder / "logs" / f"{identity}.log"

    def add(self, cells: Sequence[Cell]) -> None:
        """Put cells up, after those that are there."""
        known = {cell.identity: cell for cell in self.cells()}
        known.update({cell.identity: cell for cell in cells})
        write_json(self.folder / "cells.json", [cell.as_dict() for cell in known.values()])

    def cells(self) -> list[Cell]:
        """All cells, in the order they were put up."""
        path = self.folder / "cells.json"
        return [Cell.of(value) for value in read_json(path)] if path.is_file() else []

    def result(self, cell: Cell) -> CellResult | None:
        """What came of it, if anything did."""
        path = self._result(cell.identity)
        return CellResult(**read_json(path)) if path.is_file() else None

    def results(self) -> dict[str, CellResult]:
        """All results by cell identity, in the order of the cells."""
        return {cell.identity: result for cell in self.cells() if (result := self.result(cell))}

    def pending(self) -> list[Cell]:
        """Cells without a result."""
        return [cell for cell in self.cells() if not self._result(cell.identity).is_file()]

    def finish(self, result: CellResult) -> None:
        """Write a result."""
        write_json(self._result(result.identity), asdict(result))

    def retry_failed(self) -> int:
        """Forget the failures of an earlier session; returns how many there were."""
        failed = [result for result in self.results().values() if result.state == "failed"]
        for result in failed:
            self._result(result.identity).unlink()
            write_json(self._attempts(result.identity), {"count": 0, "run": result.run})
        return len(failed)

    def forgive(self) -> None:
        """Whoever leads anew: attempts that ended with the last leader say nothing about a cell,
        but that it was begun.
        """
        for cell in self.pending():
            known = self._attempt(cell)
            if known.get("count", 0) > 1:
                write_json(self._attempts(cell.identity), {**known, "count": 1})

    @contextmanager
    def claim(self, cell: Cell) -> Iterator[bool]:
        """Whether the cell is this worker's for the length of the block."""
        with self._alone(self.folder / "claims" / f"{cell.identity}.lock", 0.0) as mine:
            yield mine and not self._result(cell.identity).is_file()

    @contextmanager
    def sole_coordinator(self, patience: float = PATIENCE) -> Iterator[bool]:
        """Whether this process is the only one that leads the experiment; ``patience`` in seconds
        outlasts who only looks.
        """
        with self._alone(self.folder / "coordinator.lock", patience) as alone:
            yield alone

    def led(self) -> bool:
        """Whether a coordinator lives: workers on other machines go home when none does."""
        with self.sole_coordinator(patience=0.0) as alone:
            return not alone

    def close(self, closed: bool = True) -> None:
        """Tell the workers that no cell will follow; False opens the board again."""
        mark = self.folder / "closed"
        if closed:
            self._prepare(mark).touch()
        else:
            mark.unlink(missing_ok=True)

    @property
    def closed(self) -> bool:
        """Whether the last cell has been put up and done."""
        return (self.folder / "closed").exists()

    def attempt(self, cell: Cell, run: str = "") -> tuple[int, str]:
        """Count one more attempt at a cell, recorded in ``run`` from now on where one is given.

        Returns how many began and never ended, and the MLflow run that records them; empty before
        there is one.
        """
        known = self._attempt(cell)
        count, run = known.get("count", 0) + 1, run or known.get("run", "")
        write_json(self._attempts(cell.identity), {"count": count, "run": run})
        return count, run

    def set_aside(self, cell: Cell) -> None:
        """The last attempt ended in good order, without a result: it does not count."""
        known = self._attempt(cell)
        write_json(
            self._attempts(cell.identity), {**known, "count": max(0, known.get("count", 0) - 1)}
        )

    def _attempt(self, cell: Cell) -> dict[str, Any]:
        path = self._attempts(cell.identity)
        return dict(read_json(path)) if path.is_file() else {}

    def _attempts(self, identity: str) -> Path:
        return self.folder / "attempts" / f"{identity}.json"

    def _result(self, identity: str) -> Path:
        return self.folder / "results" / f"{identity}.json"

    @contextmanager
    def _alone(self, path: Path, patience: float) -> Iterator[bool]:
        mine = lock(path, patience)
        try:
            mine.acquire()
        except Taken:
            yield False
            return
        try:
            yield True
        finally:
            mine.release()

    @staticmethod
    def _prepare(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
