"""Former place of the entry points: deployments made before the move name them here; deploy again
and it can go.
"""

from flows.deployments.entrypoints import (
    drift,
    experiment_worker,
    pipeline,
    stage_worker,
    verification,
)

__all__ = ["drift", "experiment_worker", "pipeline", "stage_worker", "verification"]
