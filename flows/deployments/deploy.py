"""``rootstock deploy``: put a flow on a schedule at the Prefect server, for the workers of a
pool.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from flows.adapters.prefect.server import need_server
from stages.core.errors import ConfigError, nearest
from stages.core.io import read_json
from stages.core.params import load_params

FLOWS = {
    "pipeline": "pipeline",
    "drift": "drift",
    "verification": "verification",
    "experiment-worker": "experiment_worker",
    "stage-worker": "stage_worker",
}
MANY = ("experiment-worker", "stage-worker")
"""What runs as often at once as it is asked for, under the name of its pool."""
POOLS = Path(__file__).with_name("work_pools")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Deployment:
    """What to run, when, and where; neither ``cron`` nor ``interval`` means on demand."""

    what: str = "pipeline"
    cron: str | None = None
    interval: str | None = None
    timezone: str = "UTC"
    pool: str = "rootstock"
    kind: str = "process"
    parameters: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.what not in FLOWS:
            raise ConfigError(
                f"nothing called {self.what!r} can be deployed;"
                f" {nearest(self.what, list(FLOWS))}there is {', '.join(FLOWS)}"
            )
        if self.cron and self.interval:
            raise ConfigError("--cron and --interval are two ways to say when: give one of them")
        if self.kind not in kinds():
            raise ConfigError(
                f"there is no pool template {self.kind!r}; choose from {', '.join(kinds())}"
            )


def kinds() -> list[str]:
    """The work pool templates there are."""
    return sorted(file.stem for file in POOLS.glob("*.json"))


def template(kind: str, gpus: int = 0) -> dict[str, Any]:
    """The work pool of a kind: its Prefect type and base job template, asking for as many GPUs as
    the greediest stage.
    """
    values: dict[str, Any] = read_json(POOLS / f"{kind}.json")
    return dict(_filled(values, {"{{gpus}}": gpus}))


def seconds(interval: str) -> int:
    """``90s``, ``15m``, ``6h``, ``1d`` as seconds.

    Raises:
        ConfigError: anything else.
    """
    found = re.fullmatch(r"(\d+)([smhd])", interval.strip())
    if not found or int(found[1]) == 0:
        raise ConfigError(
            f"--interval {interval}: expected a number and a unit of {', '.join(UNITS)}, for"
            " example 6h"
        )
    return int(found[1]) * UNITS[found[2]]


def deploy(wanted: Deployment, root: Path) -> str:
    """Create or update the deployment and its pool; returns its full name.

    Raises:
        ConfigError: no server answers, or the schedule makes no sense.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.flows import Flow

    from flows.deployments import entrypoints

    need_server()
    when = _schedule(wanted)
    overlap = load_params().schedule.overlap
    many = wanted.what in MANY
    collision = (
        ConcurrencyLimitStrategy.CANCEL_NEW
        if overlap == "skip"
        else ConcurrencyLimitStrategy.ENQUEUE
    )
    name = wanted.pool if many else wanted.what
    # by file, Prefect would put flows/ on the path, where dvc.py hides DVC
    entrypoint = f"flows.deployments.entrypoints.{FLOWS[wanted.what]}"
    entry: Flow[Any, Any] = getattr(entrypoints, FLOWS[wanted.what])
    with get_client(sync_client=True) as client:
        _ensure_pool(client, wanted, _gpus())
        try:
            client.create_deployment(
                flow_id=client.create_flow_from_name(entry.name),
                name=name,
                entrypoint=entrypoint,
                path=str(root),
                pull_steps=[
                    {"prefect.deployments.steps.set_working_directory": {"directory": str(root)}}
                ],
                work_pool_name=wanted.pool,
                schedules=when,
                parameters=dict(wanted.parameters),
                concurrency_limit=None if many else 1,
                concurrency_options=(
                    None if many else ConcurrencyOptions(collision_strategy=collision)
                ),
                job_variables={"env": _environment(root)},
                enforce_parameter_schema=False,
            )
        except PrefectHTTPStatusError as error:
            raise ConfigError(
                f"the Prefect server refuses the deployment: {' '.join(str(error).split())}"
            ) from None
    return f"{entry.name}/{name}"


def _schedule(wanted: Deployment) -> list[Any]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
    from pydantic import ValidationError

    try:
        if wanted.cron:
            return [
                DeploymentScheduleCreate(
                    schedule=CronSchedule(cron=wanted.cron, timezone=wanted.timezone), active=True
                )
            ]
        if wanted.interval:
            every = timedelta(seconds=seconds(wanted.interval))
            return [
                DeploymentScheduleCreate(
                    schedule=IntervalSchedule(interval=every, timezone=wanted.timezone), active=True
                )
            ]
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"--cron {wanted.cron or wanted.interval} --timezone {wanted.timezone}: {reason}"
        ) from None
    return []


def _ensure_pool(client: Any, wanted: Deployment, gpus: int) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    try:
        client.read_work_pool(wanted.pool)
    except ObjectNotFound:
        values = template(wanted.kind, gpus)
        pool = WorkPoolCreate(
            name=wanted.pool, type=values["type"], base_job_template=values["template"]
        )
        with suppress(
            ObjectAlreadyExists
        ):  # the worker of rootstock up, which starts meanwhile, makes it too
            client.create_work_pool(pool)


def _gpus() -> int:
    """The most GPUs a stage of dvc.yaml asks for in its meta."""
    from flows.adapters.dvc.plan import read_plan

    return max((node.gpus for node in read_plan().nodes.values()), default=0)


def _environment(root: Path) -> dict[str, str]:
    """What a worker's process needs to find the project; no secret among it. The worker adds the
    server's address: another day the server may listen at another port.
    """
    return {"PYTHONPATH": str(root), "PREFECT_HOME": str(root / ".prefect")}


def _filled(value: Any, slots: dict[str, Any]) -> Any:
    """The template with its own slots filled; Prefect's ``{{ … }}`` are left to Prefect."""
    if isinstance(value, dict):
        return {key: _filled(item, slots) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, slots) for item in value]
    if isinstance(value, str) and value in slots:
        return slots[value]
    for slot, filling in slots.items() if isinstance(value, str) else ():
        value = value.replace(slot, str(filling))
    return value
