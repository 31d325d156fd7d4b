"""``rootstock up``: servers that stay."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import enter
from flows.process.signals import ends_at_once


def command(
    worker: Annotated[bool, typer.Option(help="Start a worker for scheduled runs too.")] = True,
) -> None:
    """Start Prefect's and MLflow's servers and a worker.

    For this project, on the loopback interface.

    Databases come from PREFECT_SERVER_DATABASE_CONNECTION_URL and MLFLOW_BACKEND_STORE_URI; SQLite
    in the project by default.
    """
    enter()
    from flows.deployments import services as servers

    with ends_at_once("rootstock down stops what has started"):
        services = servers.up(worker)
    for service in services:
        print(
            f"{service.name:<8}"
            f" {service.address or 'takes scheduled runs from the pool ' + servers.POOL}"
        )
    print("rootstock uses the Prefect server from now on; rootstock down stops everything")
