"""``rootstock suggest``: which registered encoder fits these images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter
from stages.core.progress import aside


def command(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|WORKDIR", help="Class folders or a flat folder; WORKDIR: the pool."
        ),
    ],
    images: Annotated[int, typer.Option(min=20, help="Images looked at, drawn at random.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Rank the registered encoders for a data set.

    Without training: by the rank of the features, and by what labels there are.
    """
    folder = None if dataset == "WORKDIR" else Path(dataset).resolve()
    enter()
    from flows.adapters.mlflow.store import Store
    from flows.evaluation import ranking

    with aside(json):
        found = ranking.suggest(Store.open(), folder, images)
    print(ranking.as_json(found) if json else ranking.text(found))
