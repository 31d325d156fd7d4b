"""``rootstock plan``: what a run would do, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import Force, To, enter
from flows.project.environment import RIGHTS
from stages.core import paths
from stages.core.errors import ConfigError

Supposed = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Suppose this parameter; params.yaml stays as it is."
    ),
]


def command(
    assignments: Supposed = None,
    to: To = None,
    force: Force = None,
    json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Say what would run, why, and how long it took last time.

    Nothing is changed.
    """
    from flows.adapters.dvc import client
    from flows.pipeline import summary
    from flows.project import environment
    from stages.core.progress import aside

    _check_writable(environment.enter(environment.find_root()))
    client.start()
    with aside(json):
        enter(stages=[*([to] if to else []), *(force or [])], sources=True)
        from flows.pipeline.planning import choices, dry_plan, last_seconds

        found = dry_plan(tuple(force or ()), to, tuple(assignments or ()))
    lines = summary.plan_lines(found, last_seconds(found))
    if json:
        print(summary.plan_json(lines))
        return
    for name, what, why in lines:
        print(f"{name:<10} {what:<8} {why}".rstrip())
    if all(what == "cached" for _, what, _ in lines):
        print("nothing to do: every stage is cached")
    if any(name == "pretrain" and what == "run" for name, what, _ in lines):
        print("\n".join(choices(tuple(assignments or ()))))


def _check_writable(root: Path) -> None:
    """DVC, which is asked what is stale, keeps notes of its own."""
    for place in (root / paths.STATE, root / ".dvc"):
        present = place if place.exists() else root
        if not os.access(present, os.W_OK):
            raise ConfigError(f"{present} cannot be written: {RIGHTS}")
