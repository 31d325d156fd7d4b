"""One cell: a worktree with its data and parameters, its stages brought up to date, what came of
it.

A stage that another cell is running is not run a second time: the cell is set aside until the
result is there.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path

from flows.adapters.dvc import lockfile, run_cache
from flows.adapters.dvc import plan as dvc
from flows.adapters.mlflow.recorder import RunRecorder
from flows.adapters.mlflow.store import Store, flatten, numbers
from flows.experiment.design import Cell
from flows.experiment.spec import Spec
from flows.experiment.state import CellResult, ExperimentState
from flows.pipeline.run import PipelineRun, Say
from flows.pipeline.stage import StageDied
from flows.process.locks import Taken, lock
from flows.project import environment, worktrees
from flows.project.git import read_at
from flows.project.params_file import override
from flows.registry import stage_inputs
from stages.core import paths
from stages.core.errors import ConfigError, RootstockError
from stages.core.io import canonical_json, read_json
from stages.core.params import load_params

LOCKS = paths.STATE / "locks"
PREDICTIONS = paths.reports("evaluate") / "predictions.parquet"
READY = paths.STATE / "cell-ready"
TRIES = 3


class SetAside(Exception):
    """Another cell runs the stage that this one needs next."""


def run_cell(
    spec: Spec, board: ExperimentState, cell: Cell, store: Store, run: str, say: Say
) -> CellResult | None:
    """Work on a cell to its end; None where it has to wait for another one. The working directory
    is the project's on return.
    """
    began = time.monotonic()
    place = board.place(cell)
    pipeline: PipelineRun | None = None
    try:
        _prepare(spec, cell, place)
        recorder = RunRecorder(
            store, {"rootstock.experiment": spec.name, "git.commit": spec.code}, run
        )
        pipeline = PipelineRun(dvc.read_plan(to=spec.to, put_back=True), recorder)
        for name in pipeline.plan.order:
            _bring_up_to_date(Path(spec.root), pipeline, name, say)
        result = _result(spec, board, cell, pipeline, run, time.monotonic() - began)
    except SetAside:
        return None
    except RootstockError as error:
        say(f"failed: {error}")
        states = (
            {name: outcome.state for name, outcome in pipeline.outcomes.items()} if pipeline else {}
        )
        result = CellResult(
            cell.identity,
            "failed",
            error=str(error),
            seconds=time.monotonic() - began,
            run=run,
            stages=states,
        )
    finally:
        os.chdir(spec.root)
    worktrees.remove(Path(spec.root), place)
    return result


def _prepare(spec: Spec, cell: Cell, place: Path) -> None:
    """The worktree: code of the experiment, data of the version, parameters of both and of the
    cell.
    """
    if not (place / READY).is_file():
        root = Path(spec.root)
        worktrees.add(root, place, spec.code)
        environment.enter(place)
        entries = run_cache.pin(spec.data_stages, read_at(root, spec.data[cell.data], "dvc.lock"))
        override(_of_the_data(list(entries.values())))
        override(cell.assignments)
        READY.touch()
    environment.enter(place)
    stage_inputs.refresh(load_params(), images=False)


def _of_the_data(entries: list[lockfile.LockEntry]) -> list[str]:
    """Assignments that make params.yaml say how the data was made; what this code no longer knows
    is left out.
    """
    now = flatten(load_params().model_dump(by_alias=True))
    values = {key: value for entry in entries for key, value in flatten(entry.params).items()}
    return [
        f"{key}={canonical_json(value)}"
        for key, value in values.items()
        if key in now and key != "seed"
    ]


def _bring_up_to_date(root: Path, pipeline: PipelineRun, name: str, write: Say) -> None:
    def say(line: str) -> None:
        write(line if line.startswith(name) else f"{name}: {line}")

    reasons = pipeline.plan.reasons
    reasons[name] = dvc.read_reasons(name)
    if not reasons[name]:
        pipeline.bring_up_to_date(name, say, _unsaid)
        return
    with _only_one(root, run_cache.signature(name)):
        if run_cache.restore(name):
            reasons[name] = []
        for attempt in range(1, TRIES + 1):
            try:
                pipeline.bring_up_to_date(name, say, _unsaid)
                return
            except StageDied as error:
                if attempt == TRIES:
                    raise
                say(f"{error}: trying again")
                pipeline.forget_failure(name)


def _unsaid(line: str) -> None:
    """What DVC says of itself, and what a run that waits for another sees of it: of no use in a
    cell's log.
    """


def _only_one(root: Path, signature: str) -> AbstractContextManager[object]:
    """The lock of a stage on these inputs.

    Raises:
        SetAside: another cell holds it.
    """
    try:
        return lock(root / LOCKS / f"{signature}.lock", patience=0).acquire()
    except Taken:
        raise SetAside from None


def _result(
    spec: Spec, board: ExperimentState, cell: Cell, pipeline: PipelineRun, run: str, seconds: float
) -> CellResult:
    values = numbers(read_json(spec.metric_file))
    if spec.metric not in values:
        raise ConfigError(
            f"{spec.metric_file} holds no number {spec.metric!r}; it has {', '.join(values)}"
        )
    outputs = {
        path: digest
        for entry in lockfile.read_lock().values()
        for path, digest in entry.outputs.items()
    }
    if PREDICTIONS.is_file():
        target = board.predictions(cell.identity)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PREDICTIONS, target)
    return CellResult(
        cell.identity,
        "finished",
        score=values[spec.metric],
        seconds=seconds,
        run=run,
        stages={name: outcome.state for name, outcome in pipeline.outcomes.items()},
        metrics=values,
        outputs=outputs,
    )
