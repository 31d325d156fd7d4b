"""``rootstock notify``: tell people when something happened."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import enter


def command(
    private: Annotated[
        bool, typer.Option("--private", help="Allow an address inside the own network.")
    ] = False,
) -> None:
    """Call a webhook on promotions, drift and failed runs.

    A Prefect automation calls the address in ROOTSTOCK_WEBHOOK_URL, on rollbacks too.
    """
    enter()
    from flows.deployments.webhook import EVENTS, notify

    print(f"automation {notify(private)}: {', '.join(sorted(EVENTS))}")
