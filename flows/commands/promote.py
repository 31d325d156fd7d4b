"""``rootstock promote``: from trained to champion."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import enter


def command(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the gates; register, tag and move nothing.")
    ] = False,
    why: Annotated[str, typer.Option(help="The reason, kept with the version.")] = "",
    approve: Annotated[
        str, typer.Option(metavar="NAME", help="Who approves it, for the gate 'approval'.")
    ] = "",
    new_task: Annotated[
        bool,
        typer.Option(
            "--new-task",
            help=(
                "These images are another task: leave out the comparison with the champion. Needs"
                " --why."
            ),
        ),
    ] = False,
) -> None:
    """Make the trained model champion if every gate agrees.

    The classifier of the workspace is registered where it is new. Exit code 1 when a gate does not
    agree.
    """
    enter()
    from flows.pipeline.planning import promote_workspace
    from flows.promotion.promote import PromotionOptions

    result = promote_workspace(PromotionOptions(dry_run, why, approve, new_task))
    print(result.verdict)
    if dry_run:
        print("dry run: nothing was registered, tagged or moved")
    result.check()
