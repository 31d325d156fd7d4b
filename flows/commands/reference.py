"""``rootstock reference``: the data of the workspace become what later data are compared with."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import enter


def command(
    clear: Annotated[bool, typer.Option("--clear", help="Compare with nothing.")] = False,
) -> None:
    """Keep what the data look like now, to tell later drift from.

    The reference of the drift audit (validate.reference), kept in git.
    """
    root = enter()
    from flows.monitoring.reference import keep
    from flows.project.params_file import override
    from flows.project.params_lock import turn

    with turn(change=True):
        path = None if clear else keep(root)
        override([f"validate.reference={path or 'null'}"])
    if clear:
        print("validate.reference is null: drift is not measured")
        return
    print(
        f"validate.reference is {path}: later data are compared with these; commit it together with"
        " params.yaml"
    )
