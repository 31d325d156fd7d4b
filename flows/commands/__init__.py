"""Commands of ``rootstock``, one file each: the file's name is the command's, ``command`` in it is
what runs.

Nothing heavy is imported before a command is called, so that ``--help`` stays quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from flows.process.signals import ends_at_once

To = Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")]
Force = Annotated[
    list[str] | None, typer.Option(metavar="STAGE", help="Run this stage though it is fresh.")
]
AGAIN = "the same command goes on where it was"


@contextmanager
def resumable() -> Iterator[None]:
    """Let Ctrl-C end a command whose repetition goes on where it was, and say so."""
    from stages.core.errors import StageFailed

    with ends_at_once(AGAIN):
        try:
            yield
        except KeyboardInterrupt:
            raise StageFailed(f"stopped; {AGAIN}") from None


def enter(
    assignments: list[str] | None = None,
    stages: list[str] | None = None,
    store: bool = False,
    sources: bool = False,
) -> Path:
    """Make the project the working directory, check all that was given, and only then apply
    ``--set``; returns the root.

    Args:
        assignments: ``KEY=VALUE`` for params.yaml; a refused one changes nothing.
        stages: names that dvc.yaml must know.
        store: whether the MLflow store must be usable.
        sources: whether the images must be there: who asks or rolls back may be where they are not.
    """
    from flows.adapters.dvc import plan
    from flows.adapters.mlflow import database
    from flows.pipeline.preflight import check_choices
    from flows.project import environment
    from flows.project.params_file import override
    from stages.core.params import load_params

    root = environment.enter(environment.find_root())
    if stages:
        plan.check_names(stages)
    if store:
        database.check_reachable()
    if assignments:
        override(assignments, check=check_choices)
    else:
        check_choices(load_params(), sources)
    return root
