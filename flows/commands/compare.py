"""``rootstock compare``: two registered classifiers on the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter
from stages.core.progress import aside


def command(
    first: Annotated[
        str, typer.Argument(metavar="A", help="For example rootstock-classifier@champion.")
    ],
    second: Annotated[
        str, typer.Argument(metavar="B", help="For example rootstock-classifier@candidate.")
    ],
    images: Annotated[
        int, typer.Option(help="How many images that only one gets right are named, of each.")
    ] = 5,
    json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write both answers to every image here.")
    ] = None,
) -> None:
    """Compare two model versions on the same test images.

    Shows paired differences with intervals, per-class results, and the images only one model gets
    right.

    A version that was evaluated on other images answers those of the workspace anew.
    """
    table = csv.resolve() if csv else None
    enter()
    from flows.adapters.mlflow.store import Store
    from flows.evaluation import comparison

    with aside(json):
        found = comparison.compare(Store.open(), first, second)
    print(comparison.as_json(found) if json else comparison.text(found, images))
    if table:
        comparison.write(found, table)
