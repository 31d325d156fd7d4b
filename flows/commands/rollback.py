"""``rootstock rollback``: the previous champion serves again."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows.commands import enter


def command(
    why: Annotated[str, typer.Option(help="The reason, kept with the version.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="This version instead of the previous champion."),
    ] = None,
) -> None:
    """Make the previous champion champion again."""
    enter()
    from flows.adapters.mlflow.store import Store
    from flows.registry import aliases
    from flows.registry.versions import FORGOTTEN

    now, before = aliases.rollback(Store.open(), why, to)
    print(
        f"{now.name}@champion is version {now.number} (digest {now.digest}), no longer version"
        f" {before.number}: {why}"
    )
    if now.tags.get(aliases.UNSEEN):
        print(
            f"version {now.number} never was champion: no promotion let it through its gates",
            file=sys.stderr,
        )
    if gone := now.tags.get(FORGOTTEN):
        print(f"it was trained on images that have since been forgotten: {gone}", file=sys.stderr)
