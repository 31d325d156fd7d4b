"""Startup: the plan and the provenance, prepared before a pipeline run, and its result."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from flows.adapters.dvc import client
from flows.adapters.dvc import plan as dvc
from flows.adapters.dvc.plan import Plan
from flows.adapters.mlflow import recorder_client
from flows.pipeline.data_checks import check_data, check_places
from flows.pipeline.request import RunRequest
from flows.pipeline.run import PipelineRun, makes_pool, trains
from flows.project.provenance import provenance
from flows.registry import stage_inputs
from stages.core.params import Params, load_params

if TYPE_CHECKING:
    from flows.promotion.promote import Promotion


@dataclass(frozen=True)
class Result:
    """Result of a pipeline run: the run itself and its promotion, if there was one."""

    run: PipelineRun
    promotion: Promotion | None


class Preparation:
    """The plan, and who keeps the books; both are made in processes beside this one while it
    imports and the server starts.
    """

    def __init__(self, request: RunRequest, stopped: Event | None = None) -> None:
        self.stopped = stopped or Event()
        """Set when the run is to end."""
        recorder_client.start()
        pool = ThreadPoolExecutor(2)
        self.params: Params = load_params()
        self._plan: Future[Plan] = pool.submit(
            current_plan, self.params, request.force, request.to, True
        )
        self._facts: Future[dict[str, str]] = pool.submit(provenance)
        pool.shutdown(wait=False)

    def plan(self) -> Plan:
        """The plan; raises what planning raised."""
        return self._plan.result()

    def check(self) -> None:
        """Refuse what this plan could only find out after hours.

        Raises:
            ConfigError: networks or batch do not fit these images, or what planning raised.
        """
        plan = self.plan()
        check_places(output for node in plan.nodes.values() for output in node.outputs)
        makers = [name for name, node in plan.nodes.items() if makes_pool(node)]
        if makers and trains(plan):
            check_data(self.params, made=not any(map(plan.stale, makers)))

    def provenance(self) -> dict[str, str]:
        """What the code is."""
        return self._facts.result()


def current_plan(
    params: Params, force: tuple[str, ...] = (), to: str | None = None, put_back: bool = False
) -> Plan:
    """The plan for these parameters and for the sources as they are now."""
    stage_inputs.refresh(params)
    return client.call(dvc.read_plan, force, to, None, put_back)


PREPARED: ContextVar[Preparation | None] = ContextVar("prepared", default=None)
RESULT: ContextVar[dict[str, Result]] = ContextVar("result")
"""How the command that starts the flow hands over what it made ready, and is handed what came of
it.
"""
