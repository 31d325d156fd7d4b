"""What a schedule runs: entry points that workers load by file and name. A run that is too late, or
overlaps, ends well.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Completed, Failed

from flows.process.identity import FEW_ARENAS
from flows.project import environment
from stages.core.params import load_params

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

GRACE = timedelta(minutes=5)
"""How late a run may start before it counts as missed."""
WAITING = "AwaitingConcurrencySlot"
"""What Prefect calls the state of a run that waits for another to end."""


@flow(name="rootstock-scheduled", validate_parameters=False, persist_result=False)
def pipeline() -> State[Any] | None:
    """The whole pipeline; on unchanged data every stage is cached and no version is made."""
    _enter()
    if missed := _missed():
        return missed
    from flows.pipeline.flow import run_pipeline
    from flows.pipeline.request import RunRequest
    from stages.core.errors import Refused

    result = run_pipeline(RunRequest())
    if result.run.failure is not None:
        raise result.run.failure
    if result.promotion is not None and result.promotion.refused:
        raise Refused(result.promotion.verdict)
    states = [outcome.state for outcome in result.run.outcomes.values()]
    fresh = all(state == "cached" for state in states)
    return Completed(name="Cached", message="nothing changed") if fresh else None


@flow(name="rootstock-drift", validate_parameters=False, persist_result=False)
def drift(images: str | None = None) -> State[Any] | None:
    """The drift check of ``rootstock drift``."""
    root = _enter()
    if missed := _missed():
        return missed
    from flows.monitoring.drift import check

    found = check(root, Path(images) if images else None)
    return Completed(name="Drift" if found.alarm else "Quiet", message=found.sentence)


@flow(name="rootstock-verification", validate_parameters=False, persist_result=False)
def verification(reference: str = "rootstock-classifier@champion") -> State[Any] | None:
    """``rootstock lineage --verify``: every artifact behind the champion hashed again; the run
    fails on one that differs.
    """
    _enter()
    if missed := _missed():
        return missed
    from flows.adapters.mlflow.store import Store
    from flows.lineage import trace as lineage
    from flows.lineage.verification import verify
    from flows.registry import versions
    from stages.core.errors import Refused

    found = list(verify(lineage.trace(versions.resolve(Store.open(), reference))))
    for check in found:
        get_run_logger().info("%s %s %s", check.state, check.what, check.found)
    if wrong := [check for check in found if check.state == "differs"]:
        raise Refused(f"{wrong[0].what} differs: {wrong[0].found}")
    count = sum(check.state == "ok" for check in found)
    return Completed(
        name="Verified", message=f"{reference}: {count} of {len(found)} checks ok, none differs"
    )


@flow(name="rootstock-experiment-worker", validate_parameters=False, persist_result=False)
def experiment_worker(folder: str) -> None:
    """One worker of an experiment: takes cells until there are none."""
    _enter()
    from flows.experiment.worker import work

    work(Path(folder))


@flow(name="rootstock-stage-worker", validate_parameters=False, persist_result=False)
def stage_worker(folder: str) -> State[Any]:
    """One stage of a run that another process leads; how it ended is that run's to judge."""
    _enter()
    from flows.pipeline.remote.worker import UNWANTED, work

    code = work(Path(folder))
    if code is None:
        return Cancelled(message=UNWANTED)
    return Failed(message=f"exit code {code}") if code else Completed(message="exit code 0")


def _enter() -> Path:
    """Make the project the working directory. What this run starts may train, and is not to have
    the worker's few arenas.
    """
    for name, value in FEW_ARENAS.items():
        if os.environ.get(name) == value:
            del os.environ[name]
    return environment.enter(environment.find_root())


def _missed() -> State[Any] | None:
    """Whether this run was due while nobody could run it, and is better left out; if not, of those
    behind it only the last waits.

    Of several missed ticks at most the last is made up for, and only with ``schedule.catch_up``.
    """
    due = datetime.fromtimestamp(flow_run.get_scheduled_start_time().timestamp(), UTC)
    now = datetime.now(UTC)
    late = now - due >= GRACE and not flow_run.get_parent_flow_run_id()
    if late and not (load_params().schedule.catch_up and not _later_one_is_due(due, now)):
        return Completed(
            name="Missed",
            message=(
                f"due {due:%Y-%m-%d %H:%M} UTC, {(now - due) // timedelta(minutes=1)} minutes ago:"
                " left out"
            ),
        )
    if late:
        get_run_logger().info("made up for the tick of %s", due)
    _let_only_the_last_wait()
    return None


def _let_only_the_last_wait() -> None:
    """Skip all but the last of the runs that wait behind this one with the same parameters: the
    last will see what they would.

    Where runs take longer than the time between two ticks they would pile up without end, and every
    one of them asks the server for its turn again and again: with 78 of them a server on SQLite no
    longer answered.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters

    latest: list[dict[str, Any]] = []
    with get_client(sync_client=True) as client:
        for run in _runs(
            client,
            state=filters.FlowRunFilterState(name=filters.FlowRunFilterStateName(any_=[WAITING])),
        ):
            if run.parameters in latest:
                skipped: State[Any] = Cancelled(
                    name="Skipped", message="a later run waits and will see what this one would"
                )
                client.set_flow_run_state(run.id, skipped, force=True)
            else:
                latest.append(run.parameters)


def _later_one_is_due(due: datetime, now: datetime) -> bool:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters

    with get_client(sync_client=True) as client:
        runs = _runs(
            client,
            expected_start_time=filters.FlowRunFilterExpectedStartTime(after_=due, before_=now),
        )
    return any(run.expected_start_time and run.expected_start_time > due for run in runs)


def _runs(client: SyncPrefectClient, **wanted: Any) -> list[FlowRun]:
    """The runs of this deployment that pass a filter, the latest first; none where no deployment
    made this run.
    """
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import FlowRunSort

    if not deployment.get_id():
        return []
    mine = filters.FlowRunFilterDeploymentId(any_=[UUID(str(deployment.get_id()))])
    return client.read_flow_runs(  # the server refuses a sort and a limit that are not given
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=100,
        flow_run_filter=filters.FlowRunFilter(deployment_id=mine, **wanted),
    )
