"""``rootstock experiment``: dataset versions × parameters × seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import enter, resumable

if TYPE_CHECKING:
    from flows.experiment.analysis import Analysis


def command(
    data: Annotated[
        str, typer.Option(metavar="V1,V2,…", help="Dataset versions: tags, ranges v1..v5, WORKDIR.")
    ] = "WORKDIR",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=A,B,…", help="Values of a parameter to compare."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Repetitions of every configuration.")] = 1,
    jobs: Annotated[int, typer.Option(help="Cells worked on at once.")] = 1,
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", help="N configurations spread evenly (Sobol) instead of all."),
    ] = None,
    optuna: Annotated[
        int | None,
        typer.Option(metavar="N", help="N configurations chosen by Optuna, poor ones pruned."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="STAGE:KEY", help="The score; default: the last stage's headline."),
    ] = None,
    lower: Annotated[
        bool, typer.Option("--lower-is-better", help="A smaller score is better.")
    ] = False,
    to: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the experiment and its report.")] = None,
    pool: Annotated[
        str | None,
        typer.Option(help="Work pool whose workers take the cells (see rootstock deploy)."),
    ] = None,
) -> None:
    """Compare dataset versions, parameters and seeds.

    Intervals, what explains what, and whether it is more than seed noise.

    The same command resumes an experiment that was killed. Exit code 3 when a cell failed; the
    others count all the same.
    """
    root = enter(sources=True)
    from flows.experiment.flow import run_experiment
    from flows.experiment.spec import Request
    from flows.project import worktrees
    from stages.core.errors import StageFailed

    versions = tuple(worktrees.expand(root, data))
    request = Request(
        versions, tuple(settings or ()), seeds, jobs, name, metric, lower, to, sample, optuna, pool
    )
    with resumable():
        analysis = run_experiment(request, root)
    _show(analysis)
    if analysis.failed:
        count = len(analysis.failed)
        raise StageFailed(
            f"{count} of {len(analysis.cells)} cells failed; the same command tries them again"
        )


def _show(analysis: Analysis) -> None:
    """The configurations, the shares, the sentence."""
    from rich.console import Console
    from rich.table import Table

    from flows.experiment.analysis import text
    from flows.experiment.design import show

    keys = list(dict.fromkeys(key for cell in analysis.cells for key in cell.configuration))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (*keys, analysis.spec.metric, "seeds"):
        table.add_column(column)
    for result, mean in analysis.configurations():
        table.add_row(
            *(show(result.configuration.get(key)) for key in keys), text(mean), str(mean.count)
        )
    console = Console(highlight=False)
    console.print()
    console.print(table)
    console.print()
    if analysis.shares:
        shares = ", ".join(f"{key} {100 * share:.1f} %" for key, share in analysis.shares.items())
        console.print(f"explained by: {shares}", soft_wrap=True)
    for cell, failure in analysis.failed:
        console.print(f"[red]failed[/] {cell.label}: {failure.error}", soft_wrap=True)
    console.print(f"[bold]{analysis.sentence}[/]", soft_wrap=True)
    console.print(f"report: {analysis.spec.report / 'index.html'}", soft_wrap=True)
