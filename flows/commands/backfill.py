"""``rootstock backfill``: the pipeline as it is now, over data as it was."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import enter, resumable


def command(
    data: Annotated[
        str, typer.Option(metavar="V1..V5", help="Dataset versions: names, ranges, WORKDIR.")
    ],
    jobs: Annotated[int, typer.Option(help="Versions worked on at once.")] = 1,
    to: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")] = None,
    pool: Annotated[
        str | None, typer.Option(help="Work pool whose workers take the versions.")
    ] = None,
) -> None:
    """Run the pipeline once for each data version.

    With this code and these parameters; what was made before is skipped.

    The workspace stays as it is; the outputs are in DVC's cache, the runs in MLflow. The same
    command resumes it.
    """
    root = enter(sources=True)
    from flows.experiment.flow import run_experiment
    from flows.experiment.spec import Request
    from flows.project import worktrees
    from stages.core.errors import StageFailed

    with resumable():
        analysis = run_experiment(
            Request(tuple(worktrees.expand(root, data)), jobs=jobs, to=to, pool=pool), root
        )
    for cell in analysis.cells:
        result = analysis.outcomes[cell.identity]
        ran = [name for name, state in result.stages.items() if state == "ran"]
        score = (
            f"{analysis.spec.metric} {result.score:.4g}"
            if result.score is not None
            else f"FAILED: {result.error}"
        )
        print(f"{cell.data:<12} {score:<40} {'ran ' + ', '.join(ran) if ran else 'cached'}")
    if analysis.failed:
        raise StageFailed(
            f"{len(analysis.failed)} of {len(analysis.cells)} versions failed; the same command"
            " tries them again"
        )
