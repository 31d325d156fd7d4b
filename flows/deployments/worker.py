"""``python -m flows.deployments.worker --pool POOL --name NAME``: Prefect's process worker, which
clears up after every run.

For each run Prefect opens two HTTP clients, whose TLS certificates take 0.85 MB apiece where Python
does not count them. Closed, they hang on a circle: the run's ``FlowRunExecutorContext`` holds a
process manager and an observer, whose callbacks hold it. A circle that grew old is looked for only
when a quarter of all old objects is new, and from its imports alone a worker has 120,000: once in
160 runs, which left it 30 clients and 20 MB larger.
"""

from __future__ import annotations

import gc
import sys
import warnings
from typing import TYPE_CHECKING

from prefect.cli import app
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from flows.process import surroundings

if TYPE_CHECKING:
    from anyio.abc import TaskStatus
    from prefect.client.schemas.objects import FlowRun

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it takes the place of Prefect's own, as it is meant to

    class Worker(ProcessWorker):
        """The worker that ``--type process`` starts once this module is imported."""

        async def run(
            self,
            flow_run: FlowRun,
            configuration: ProcessJobConfiguration,
            task_status: TaskStatus[int] | None = None,
        ) -> ProcessWorkerResult:
            """Run a flow in a process of its own and leave nothing of it."""
            try:
                return await super().run(flow_run, configuration, task_status)
            finally:
                gc.collect()


def main() -> None:
    """As ``prefect worker start``, with its options."""
    surroundings.bypass_proxies()
    gc.collect()
    gc.freeze()  # what importing made stays anyway; to look at it would take 0.08 s a run
    sys.argv[1:1] = ["worker", "start", "--type", Worker.type]
    app()


if __name__ == "__main__":
    main()
