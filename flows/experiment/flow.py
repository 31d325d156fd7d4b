"""The experiment as a Prefect flow: workers take the cells, every finished cell is a task of the
flow, then the conclusions.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, cast
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows.adapters.mlflow.database import tracking_uri
from flows.adapters.mlflow.orphans import FLOW_RUN, mark_crashed
from flows.adapters.mlflow.store import Store
from flows.adapters.prefect.server import prefect_server
from flows.experiment import report
from flows.experiment.analysis import Analysis, analyse
from flows.experiment.design import Cell
from flows.experiment.progress import Pace
from flows.experiment.search import search
from flows.experiment.spec import Request, Spec, begin
from flows.experiment.state import CellResult, ExperimentState
from flows.process.identity import PROCESS, this_process
from flows.process.signals import stoppable
from flows.process.supervised import SupervisedProcess
from flows.project.provenance import provenance
from stages.core.errors import ConfigError, StageFailed
from stages.core.io import write_text
from stages.core.progress import clock

WORKER = "rootstock-experiment-worker"
LOG = "workers.log"
MOST_DEATHS = 8
POLL = 0.1


def run_experiment(request: Request, root: Path) -> Analysis:
    """Run or resume an experiment to its end, with a temporary Prefect server where
    ``PREFECT_API_URL`` names none.

    Raises:
        ConfigError: the request cannot be met, or another process leads this experiment; nothing
            was run.
    """
    search(request)  # refuses what cannot be listed, before a server or a folder is there
    with stoppable() as stopped, prefect_server() as server:
        spec, store = begin(request, root), Store.open()
        board = ExperimentState(spec.folder)
        with board.sole_coordinator() as alone:
            if not alone:
                raise ConfigError(
                    f"experiment {spec.name} is being run by another process; its cells are shared,"
                    " its lead is not"
                )
            server.wait()
            found: Analysis = experiment.with_options(flow_run_name=spec.name)(
                spec, request, store, stopped
            )
            return found


@flow(name="rootstock-experiment", validate_parameters=False, persist_result=False)
def experiment(spec: Spec, request: Request, store: Store, stopped: Event) -> Analysis:
    """Put up cells, let workers take them, and say what came of it. ``stopped`` is set when it is
    to end.
    """
    board, logger = ExperimentState(spec.folder), get_run_logger()
    if again := board.retry_failed():
        logger.info("%d failed cells are tried again", again)
    board.forgive()
    parent = _parent(spec, board, store)
    status = "KILLED"
    try:
        with stoppable(stopped), _workers(request, board) as workers:
            _lead(request, board, workers, stopped)
        analysis = analyse(spec, board)
        page = report.write(analysis, board)
        _publish(analysis, store, parent, page)
        status = "FINISHED"
    finally:
        store.end(parent, status)
    return analysis


def _lead(
    request: Request, board: ExperimentState, workers: list[SupervisedProcess], stopped: Event
) -> None:
    """Hand out cells round by round until the search has no more; show each one as it ends."""
    cells, seen, pace = search(request), set[str](), Pace(board, request.jobs)
    bar = cast(
        UUID, create_progress_artifact(progress=0.0, key="experiment", description="Cells done")
    )
    while new := cells.propose(board.results()):
        board.add(new)
        deaths, known = 0, board.cells()
        while True:
            for cell in known:
                if cell.identity not in seen and (result := board.result(cell)):
                    seen.add(cell.identity)
                    deaths = 0
                    _show(cell, result, len(seen), len(known), pace)
                    update_progress_artifact(bar, progress=100.0 * len(seen) / len(known))
            if stopped.is_set():
                raise KeyboardInterrupt
            if len(seen) == len(known):
                break
            pace.look([cell for cell in known if cell.identity not in seen], len(known))
            deaths = _look_after(workers, board, deaths)
            time.sleep(POLL)


def _show(cell: Cell, result: CellResult, done: int, total: int, pace: Pace) -> None:
    words = f"{result.score:.4g}" if result.score is not None else f"FAILED: {result.error}"
    ran = [name for name, state in result.stages.items() if state == "ran"]
    how = f"ran {', '.join(ran)}" if ran else "all stages shared"
    pace.end(
        f"{done:>4}/{total} │ {cell.label}  {words}  ({clock(result.seconds)}, {how})",
        result.seconds if ran else None,
    )
    record.with_options(task_run_name=cell.label)(
        cell.label, result.state, words, how, return_state=True
    )


@task(name="cell", cache_policy=NO_CACHE, persist_result=False)
def record(label: str, state: str, words: str, how: str) -> None:
    """A finished cell in the run's graph; red when it failed."""
    get_run_logger().info("%s: %s (%s)", label, words, how)
    if state == "failed":
        raise StageFailed(words)


@contextmanager
def _workers(request: Request, board: ExperimentState) -> Iterator[list[SupervisedProcess]]:
    """Local workers that die with this process, or runs of the worker deployment in a work pool."""
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri()
    board.close(False)
    workers: list[SupervisedProcess] = []
    try:
        if request.pool:
            _call_pool(request, board)
        else:
            workers += [_start(board) for _ in range(request.jobs)]
        yield workers
        board.close()
        for worker in workers:
            worker.wait()
    finally:
        board.close()
        for worker in workers:
            if worker.running:
                worker.stop()


def _start(board: ExperimentState) -> SupervisedProcess:
    log = board.folder / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "flows.experiment.worker", str(board.folder.resolve())]
    return SupervisedProcess(["/bin/sh", "-c", 'exec "$@" >> "$0" 2>&1', str(log), *command], {})


def _look_after(workers: list[SupervisedProcess], board: ExperimentState, deaths: int) -> int:
    """Replace workers that died; returns how many did so far since a cell was last finished.

    Raises:
        StageFailed: they die again and again without finishing anything.
    """
    for place, worker in enumerate(workers):
        if not worker.running:
            deaths += 1
            if deaths > MOST_DEATHS:
                lines = (board.folder / LOG).read_text(errors="replace").strip().splitlines() or [
                    "without a word"
                ]
                raise StageFailed(
                    f"the workers of the experiment die one after the other: {lines[-1]} (see"
                    f" {board.folder / LOG})"
                )
            workers[place] = _start(board)
    return deaths


def _call_pool(request: Request, board: ExperimentState) -> None:
    """One flow run per job of the deployment that ``rootstock deploy --pool`` made; they come home
    when the board closes.
    """
    from prefect.deployments import run_deployment

    for number in range(request.jobs):
        key = f"{board.folder.name}-{number}-{os.getpid()}"
        run_deployment(
            f"{WORKER}/{request.pool}",
            parameters={"folder": str(board.folder.resolve())},
            timeout=0,
            idempotency_key=key,
        )


def _parent(spec: Spec, board: ExperimentState, store: Store) -> str:
    """The MLflow run of the experiment; a resumed one goes on, as this process's own, unless the
    store has lost it.
    """
    known = board.folder / "parent"
    mine = {FLOW_RUN: str(flow_run.get_id() or "")}
    if known.is_file() and (before := store.facts.run(run := known.read_text())):
        mark_crashed(before.tags)  # of a killed leader Prefect would say for ever that it runs
        store.client.update_run(run, "RUNNING")
        store.tag(run, {PROCESS: this_process(), **mine})
        return run
    tags = {
        "rootstock.kind": "experiment",
        "rootstock.experiment": spec.name,
        **provenance(),
        "git.commit": spec.code,
        **mine,
    }
    run = store.start(f"experiment {spec.name}", None, tags)
    store.batch(run, params={"data": ",".join(spec.data), "metric": spec.metric, "code": spec.code})
    write_text(known, run)
    return run


def _publish(analysis: Analysis, store: Store, parent: str, page: Path) -> None:
    """The conclusions in MLflow and Prefect."""
    store.metrics(parent, {f"share.{key}": value for key, value in analysis.shares.items()})
    store.tag(
        parent, {"rootstock.verdict": analysis.sentence, "mlflow.note.content": analysis.sentence}
    )
    store.artifacts(parent, page.parent)
    rows: list[dict[str, Any]] = [
        {
            **{key: str(value) for key, value in result.configuration.items()},
            analysis.spec.metric: mean.value,
            "seeds": mean.count,
        }
        for result, mean in analysis.configurations()
    ]
    create_table_artifact(table=rows, key="configurations", description="Mean score over seeds")
    create_markdown_artifact(
        markdown=f"{analysis.sentence}\n\nReport: {page}",
        key="verdict",
        description="What the experiment says",
    )
