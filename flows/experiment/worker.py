"""``python -m flows.experiment.worker FOLDER``: take cells of an experiment one after the other
until there are none.

As many as you like, on as many machines as share the project's file system; each keeps its imports
from cell to cell.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from flows.adapters.mlflow.store import Store
from flows.experiment.cell import run_cell
from flows.experiment.design import Cell
from flows.experiment.spec import Spec
from flows.experiment.state import DEATHS_ALLOWED, CellResult, ExperimentState
from flows.project import worktrees

PATIENCE = 0.2
LOOK_AHEAD = 4
"""Cells prepared while their stages are made elsewhere; more would only fill the disk."""


def work(folder: Path) -> None:
    """Until the board is closed, or nobody leads the experiment any more."""
    spec, board, store = Spec.read(folder), ExperimentState(folder), Store.open()
    while not board.closed and board.led():
        if not _round(spec, board, store):
            time.sleep(PATIENCE)


def _round(spec: Spec, board: ExperimentState, store: Store) -> bool:
    """Go through the open cells once; True when one was brought to an end."""
    waiting = 0
    for cell in board.pending():
        with board.claim(cell) as mine:
            if not mine:
                continue
            if _work_on(spec, board, cell, store):
                return True
        waiting += 1
        if waiting >= LOOK_AHEAD:
            break
    return False


def _work_on(spec: Spec, board: ExperimentState, cell: Cell, store: Store) -> bool:
    attempts, run = board.attempt(cell)
    if not run or (
        attempts > 1 and store.facts.run(run) is None
    ):  # the first attempt, or a store made anew since
        run = start_run(spec, board, cell, store)
        board.set_aside(cell)
        board.attempt(cell, run)
    if attempts > DEATHS_ALLOWED:
        result: CellResult | None = CellResult(
            cell.identity, "failed", error=f"its worker died {DEATHS_ALLOWED} times", run=run
        )
    else:
        log = board.log(cell.identity)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:

            def say(line: str) -> None:
                file.write(line + "\n")
                file.flush()

            if attempts > 1:
                worktrees.remove(
                    Path(spec.root), board.place(cell)
                )  # a killed worker may have left locks of DVC in it
            result = run_cell(spec, board, cell, store, run, say)
    if result is None:
        board.set_aside(cell)
        return False
    _end_run(store, result, board)
    board.finish(result)
    return True


def start_run(spec: Spec, board: ExperimentState, cell: Cell, store: Store) -> str:
    """The MLflow run of a cell, below the experiment's."""
    parent = (board.folder / "parent").read_text()
    tags = {
        "rootstock.kind": "cell",
        "rootstock.experiment": spec.name,
        "rootstock.cell": cell.identity,
        "git.commit": spec.code,
    }
    run = store.start(
        cell.label[:240],
        parent,
        {**tags, "rootstock.data": cell.data, "rootstock.data.commit": spec.data[cell.data]},
    )
    store.batch(run, params={"data": cell.data, **dict(cell.settings), "seed": cell.seed})
    return run


def _end_run(store: Store, result: CellResult, board: ExperimentState) -> None:
    store.metrics(result.run, result.metrics)
    if result.score is not None:
        store.metrics(result.run, {"score": result.score})
    tags = {f"rootstock.stage.{name}": state for name, state in result.stages.items()}
    store.tag(result.run, {**tags, "rootstock.error": result.error or "none"})
    if (log := board.log(result.identity)).is_file():
        store.artifacts(result.run, log)
    store.end(result.run, "FINISHED" if result.state == "finished" else "FAILED")


if __name__ == "__main__":
    work(Path(sys.argv[1]))
