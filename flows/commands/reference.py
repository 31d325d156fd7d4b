"""``rootstock reference``: the data of the workspace become what later data are compared with."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import enter


def command(
    clear: Annotated[bool, typer.Option("--clear", help="Compare with nothing.")] = False,
) -> None:
    """Keep what the data look like now, in git, as the reference of the drift audit (validate.reference)."""
    root = enter()
    from flows.overrides import override
    from flows.reference import keep

    if clear:
        override(["validate.reference=null"])
        print("validate.reference is null: drift is not measured")
        return
    path = keep(root)
    override([f"validate.reference={path}"])
    print(f"validate.reference is {path}: later data are compared with these; commit it together with params.yaml")
