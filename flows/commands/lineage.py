"""``rootstock lineage``: what a registered model was made from."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter
from stages.core.progress import aside


def command(
    reference: Annotated[
        str, typer.Argument(metavar="MODEL@ALIAS")
    ] = "rootstock-classifier@champion",
    json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw it: one page to click through, that needs no network."
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Hash every artifact again and recompute the evaluation."),
    ] = False,
) -> None:
    """Print what a model was made from, down to the images."""
    page = html.resolve() if html else None
    enter()
    from flows.adapters.mlflow.store import Store
    from flows.lineage import trace as lineage
    from flows.registry import versions
    from stages.core.errors import Refused

    chain = lineage.trace(versions.resolve(Store.open(), reference))
    if not json:
        print(lineage.tree(chain), flush=True)
    checks = []
    if verify:
        from flows.lineage.verification import verify as check

        with aside(json):
            for item in check(chain):  # each is told when it is done: large ones take their time
                checks.append(item)
                print(f"{item.state:<12} {item.what}  {item.found}".rstrip(), flush=True)
    if page:
        from flows.lineage.page import write

        write(chain, page, checks)
        print(f"page: {page}", file=sys.stderr if json else sys.stdout)
    if json:
        print(lineage.as_json(chain, [asdict(item) for item in checks] if verify else None))
    if wrong := [item for item in checks if item.state == "differs"]:
        raise Refused(f"{wrong[0].what} differs: {wrong[0].found}")
