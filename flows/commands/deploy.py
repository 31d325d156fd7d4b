"""``rootstock deploy``: the pipeline, the drift check, the re-verification, or workers, for a
schedule and a pool.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter


def command(
    what: Annotated[
        str,
        typer.Argument(help="pipeline, drift, verification, experiment-worker or stage-worker."),
    ] = "pipeline",
    cron: Annotated[
        str | None, typer.Option(metavar="'0 2 * * *'", help="When, as cron says it.")
    ] = None,
    interval: Annotated[
        str | None, typer.Option(metavar="6h", help="Or how often: 90s, 15m, 6h, 1d.")
    ] = None,
    timezone: Annotated[
        str, typer.Option(help="Of the cron line, for example Europe/Berlin.")
    ] = "UTC",
    pool: Annotated[
        str, typer.Option(help="Work pool; made when there is none of that name.")
    ] = "rootstock",
    kind: Annotated[
        str, typer.Option(help="Template of a new pool: process, docker, kubernetes, slurm.")
    ] = "process",
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="New images for the drift check.")
    ] = None,
) -> None:
    """Put a flow on a schedule at the Prefect server.

    Without --cron and --interval it runs on demand only.

    A run due while another goes on is skipped or queued, as params.yaml's schedule.overlap says.
    """
    given = images.resolve() if images else None
    root = enter()
    from flows.deployments.deploy import Deployment, deploy
    from stages.core.errors import ConfigError

    if given and pool == Deployment.pool and not given.is_dir():
        raise ConfigError(f"--images {images} is no folder: make it now if images will come later")
    parameters = (("images", str(given)),) if given else ()
    name = deploy(Deployment(what, cron, interval, timezone, pool, kind, parameters), root)
    when = f"cron {cron} ({timezone})" if cron else f"every {interval}" if interval else "on demand"
    print(f"{name}: {when}, pool {pool}")
