"""``rootstock embed``: vectors of images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter
from stages.core.errors import ConfigError


def command(
    images: Annotated[list[str] | None, typer.Argument(metavar="IMAGE|FOLDER…")] = None,
    data: Annotated[
        bool, typer.Option("--data", help="The images of the workspace, with their manifest rows.")
    ] = False,
    model: Annotated[
        str, typer.Option(metavar="MODEL@ALIAS", help="A classifier gives what is below its head.")
    ] = "rootstock-encoder@frozen-best",
    to: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Ends in .parquet, .npy (with NAME.images.csv beside it) or .csv.",
        ),
    ] = Path("embeddings.parquet"),
) -> None:
    """Write the vectors of images to a file."""
    if bool(images) == data:
        given = "both" if data else "neither"
        raise ConfigError(
            f"name images or folders, or give --data for the workspace's: {given} given"
        )
    if "" in (images or []):
        raise ConfigError("an image has no name: one of the arguments is empty")
    inputs = None if data else [Path(image).resolve() for image in images or []]
    output = to.resolve()
    enter()
    from flows.serving.embed import embed_to

    sys.exit(embed_to(model, inputs, output))
