"""The pipeline as a Prefect flow: its tasks are the stages that DVC's own graph names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from flows.adapters.mlflow import recorder_client
from flows.adapters.mlflow.orphans import FLOW_RUN
from flows.adapters.prefect import gpu_limit
from flows.adapters.prefect.server import prefect_server
from flows.pipeline import summary
from flows.pipeline.live_view import LiveView
from flows.pipeline.remote import client as elsewhere
from flows.pipeline.request import RunRequest, Stopped
from flows.pipeline.run import PipelineRun
from flows.pipeline.stage import StageDied
from flows.pipeline.startup import PREPARED, RESULT, Preparation, Result
from flows.process.signals import stoppable
from flows.project import environment
from flows.project.git import why_no_commit
from flows.project.params_lock import turn
from flows.promotion.promote import promote_run
from stages.core import paths
from stages.core.errors import Refused, RootstockError, StageFailed
from stages.core.params import Params

if TYPE_CHECKING:
    from flows.promotion.promote import Promotion

SIDE_BY_SIDE = 8
"""Stages at once; those that want a GPU wait for one besides."""


def run_pipeline(request: RunRequest) -> Result:
    """Run the flow once, against the server at ``PREFECT_API_URL`` or a temporary one. Errors of
    stages are in the result.

    Raises:
        ConfigError: the configuration, the store or the server cannot be used; nothing was run.
    """
    box: dict[str, Result] = {}
    if request.pool:
        elsewhere.check(request.pool)
    with turn(change=False), stoppable() as stopped, prefect_server() as server:
        prepared = Preparation(request, stopped)
        prepared.check()
        server.wait()
        prepared_token, box_token = PREPARED.set(prepared), RESULT.set(box)
        try:
            with temporary_settings(
                {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
            ):  # to end its thread takes up to a second
                pipeline(
                    request.to,
                    list(request.force),
                    list(request.overrides),
                    request.pool,
                    return_state=True,
                )
        finally:
            PREPARED.reset(prepared_token)
            RESULT.reset(box_token)
        if stopped.is_set():
            raise Stopped(box["result"].run if box else None)
    if "result" not in box:
        raise StageFailed(
            "the flow ended before its first stage; PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL=INFO"
            " shows Prefect's own log"
        )
    return box["result"]


RUNNER: Any = ThreadPoolTaskRunner(max_workers=SIDE_BY_SIDE)


@flow(name="rootstock", task_runner=RUNNER, validate_parameters=False)
def pipeline(
    to: str | None = None,
    force: list[str] | None = None,
    overrides: list[str] | None = None,
    pool: str | None = None,
) -> None:
    """Bring every stage up to date, in the order of DVC's graph and side by side where it allows;
    then promote the model.

    A stage that is fresh ends in the state ``Cached``; one that a signal ended is tried again; one
    that said no is not, and nothing below it runs.
    """
    environment.enter(environment.find_root())
    request = RunRequest(to, tuple(force or ()), tuple(overrides or ()), pool)
    _warn_without_commit()
    if (prepared := PREPARED.get()) is None:
        prepared = Preparation(request)
        prepared.check()
    recorder = recorder_client.RecorderClient({**prepared.provenance(), **_facts(request)})
    run = PipelineRun(
        prepared.plan(),
        recorder,
        frozenset(request.force),
        request.pool,
        cancelled=prepared.stopped,
    )
    box = RESULT.get({})
    promoted = None
    try:
        with stoppable(run.cancelled):
            gpu_limit.declare(any(node.gpus for node in run.plan.nodes.values()))
            stages = _submit_stages(run)
            wait(list(stages.values()))
            if run.cancelled.is_set():
                raise KeyboardInterrupt
            promoted = (
                _promote(run, prepared.params, list(stages.values()))
                if to is None and run.failure is None
                else None
            )
        box["result"] = Result(run, promoted)
    except BaseException:
        run.cancelled.set()
        raise
    finally:
        run.end()
        box.setdefault("result", Result(run, None))
    summary.publish(run, promoted)
    if run.failure is not None:
        raise run.failure
    if promoted is not None and promoted.refused:
        raise Refused(promoted.verdict)


def _warn_without_commit() -> None:
    """Say before the first stage that nothing made now can be traced to its code, and so cannot be
    promoted.
    """
    if problem := why_no_commit():
        line = (
            "WARNING: this run cannot name its commit, so the gate lineage will refuse the model."
            f" {problem}"
        )
        get_run_logger().warning(line)
        print(line, flush=True)


def _submit_stages(run: PipelineRun) -> dict[str, PrefectFuture[Any]]:
    """One task per stage, waiting for the stages above it: Prefect's graph is DVC's graph."""
    futures: dict[str, PrefectFuture[Any]] = {}
    for name in run.plan.order:
        node = run.plan.nodes[name]
        above = [futures[stage] for stage in node.upstream if stage in futures]
        named: Task[Any, Any] = bring_up_to_date.with_options(
            name=name, task_run_name=name, description=node.description
        )
        futures[name] = named.submit(run, name, wait_for=above)
    return futures


def _only_if_it_died(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Try again after a signal, never after a no."""
    return isinstance(state.result(raise_on_failure=False), StageDied)


@task(
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[1, 5],
    retry_condition_fn=_only_if_it_died,
    persist_result=False,
)
def bring_up_to_date(run: PipelineRun, name: str) -> State[None] | None:
    """Run one stage through DVC, or say that it is cached."""
    logger = get_run_logger()

    def say(line: str) -> None:
        logger.info(line)
        summary.console(name, line)

    view = LiveView(name)
    run.forget_failure(name)
    with gpu_limit.held(run.plan.nodes[name].gpus):
        outcome = run.bring_up_to_date(name, say, logger.info, view.see)
    if outcome.state == "ran":
        view.show(paths.reports(name))
        return None
    say(outcome.state + (f"  {outcome.headline}" if outcome.headline else ""))
    return Completed(name="Cached", message=f"dvc.lock matches; made by run {outcome.run}")


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE, persist_result=False)
def promote(run: PipelineRun, params: Params, box: list[Promotion]) -> State[None] | None:
    """Register the fine-tuned model and let its gates decide on the alias ``champion``."""
    logger = get_run_logger()

    def say(line: str) -> None:
        logger.info(line)
        summary.console("promote", line)

    result = run.recorder.call(promote_run, params.promote, say=say)
    box.append(result)
    if result.refused:
        raise Refused(result.verdict)
    return Completed(name="Cached", message=result.verdict) if not result.moved else None


def _promote(run: PipelineRun, params: Params, after: list[PrefectFuture[Any]]) -> Promotion | None:
    """The promotion task, where the graph makes a classifier. A gate that says no is an answer; any
    other error is the run's.
    """
    if not any(str(paths.FINETUNED) in node.outputs for node in run.plan.nodes.values()):
        return None
    box: list[Promotion] = []
    asked: Task[Any, Any] = promote
    future = asked.submit(run, params, box, wait_for=after)
    error = future.result(raise_on_failure=False)
    if isinstance(error, RootstockError) and not box:
        run.failure = error
    elif isinstance(error, BaseException) and not box:
        run.failure = StageFailed(f"promote: {type(error).__name__}: {error}")
    return box[0] if box else None


def _facts(request: RunRequest) -> dict[str, str]:
    facts = {
        FLOW_RUN: str(flow_run.get_id() or ""),
        "prefect.flow_run": str(flow_run.get_name() or ""),
    }
    if request.overrides:
        facts["rootstock.set"] = " ".join(request.overrides)
    return facts
