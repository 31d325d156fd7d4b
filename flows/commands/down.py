"""``rootstock down``: stop what ``up`` started."""

from __future__ import annotations

from flows.commands import enter


def command() -> None:
    """Stop the servers and the worker that rootstock up started."""
    enter()
    from flows.deployments import services

    stopped = services.down()
    print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
