"""``rootstock label-next``: images worth a label."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import enter
from stages.core.errors import ConfigError, nearest

NAMES = ("mixed", "margin", "typical", "coverage")


def command(
    count: Annotated[int, typer.Argument(metavar="COUNT", min=1)],
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help=f"One of {', '.join(NAMES)}.")
    ] = "mixed",
    encoder: Annotated[str, typer.Option(metavar="MODEL@ALIAS")] = "rootstock-encoder@frozen-best",
    classifier: Annotated[
        str, typer.Option(metavar="MODEL@ALIAS")
    ] = "rootstock-classifier@champion",
) -> None:
    """Choose unlabelled images that are worth a label.

    Writes reports/label-next: a table, a page of thumbnails and a folder of the images.
    """
    if strategy not in NAMES:
        raise ConfigError(
            f"--strategy {strategy}: {nearest(strategy, list(NAMES))}choose from {', '.join(NAMES)}"
        )
    enter()
    from flows.serving.label_next import label_next

    print(label_next(count, strategy, encoder, classifier))
