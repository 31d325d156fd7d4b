"""``rootstock run``: the pipeline, from images to a promoted model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands import AGAIN, Force, To, enter
from flows.pipeline.request import RunRequest, Stopped
from flows.process.signals import end, ends_at_once
from stages.core.errors import Refused

if TYPE_CHECKING:
    from flows.pipeline.startup import Result

Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter in params.yaml first."),
]
Pool = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Work pool whose workers run the stages (see deploy)."),
]
WIDE = 200
"""Characters in a line of the table where no terminal says how many fit."""


def command(
    assignments: Assignments = None, to: To = None, force: Force = None, pool: Pool = None
) -> None:
    """Bring every stage up to date; promote if the gates agree.

    Exit codes: 0 done, 1 a gate or validation said no, 2 the call or the configuration is wrong, 3
    a stage failed.
    """
    from flows.adapters.dvc import client
    from flows.adapters.mlflow import recorder_client
    from flows.adapters.prefect.server import prefect_server
    from flows.project import environment, params_file
    from flows.project.params_lock import turn

    environment.enter(environment.find_root())
    if assignments:
        params_file.changed(assignments)  # a slip is told now, not when another run has ended
    request = RunRequest(to, tuple(force or ()), tuple(assignments or ()), pool)
    with ends_at_once(AGAIN), turn(change=bool(assignments)):
        # DVC and MLflow are imported on the second core while this one imports Prefect
        client.start()
        recorder_client.start()
        enter(assignments, stages=[*([to] if to else []), *(force or [])], store=True, sources=True)
        try:
            # the server starts while Prefect is imported, which finds it
            with ends_at_once(f"continue with: {request.command()}"), prefect_server():
                from flows.pipeline.flow import run_pipeline

                result = run_pipeline(request)
        except KeyboardInterrupt as stop:
            end(
                "stopped",
                "continue with:"
                f" {request.command(stop.run if isinstance(stop, Stopped) else None)}",
            )
        _report(result, request)


def _report(result: Result, request: Any) -> None:
    """The table, the version with its gates, where to look next; then the exit code the run
    deserves.
    """
    from rich.console import Console

    from flows.pipeline import summary

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    console.print()
    console.print(summary.table(result.run))
    console.print()
    if result.run.failure:
        fixed = "once that is fixed " if isinstance(result.run.failure, Refused) else ""
        console.print(
            f"{fixed}continue with: [bold]{request.command(result.run)}[/]", soft_wrap=True
        )
        raise result.run.failure
    if result.promotion:
        console.print(
            f"[bold]{result.promotion.version.name}[/] {result.promotion.verdict}", soft_wrap=True
        )
        for line in summary.next_steps(result.promotion):
            console.print(f"  {line}", soft_wrap=True)
        result.promotion.check()
