"""``rootstock predict``: ask a registered model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter
from stages.core.errors import ConfigError


def command(
    reference: Annotated[
        str,
        typer.Argument(metavar="MODEL@ALIAS", help="For example rootstock-classifier@champion."),
    ],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|FOLDER…")],
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all probabilities here; - is standard output."),
    ] = None,
) -> None:
    """Ask a registered model about image files and folders of them."""
    if "" in images:  # an empty variable, say; as a path it would be the folder one is in
        raise ConfigError("an image has no name: one of the arguments is empty")
    inputs = [Path(image).resolve() for image in images]
    output = csv if csv is None or str(csv) == "-" else csv.resolve()
    enter()
    from flows.serving.predict import predict_files

    sys.exit(predict_files(reference, inputs, output))
