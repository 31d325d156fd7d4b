"""``rootstock predict``: ask a registered model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter


def command(
    reference: Annotated[str, typer.Argument(metavar="MODEL@ALIAS", help="For example rootstock-classifier@champion.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE|FOLDER…")],
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all probabilities here; - is standard output.")] = None,
) -> None:
    """Ask a registered model about image files and folders of them."""
    inputs = [path.resolve() for path in images]
    output = csv if csv is None or str(csv) == "-" else csv.resolve()
    enter()
    from flows.prediction import predict_files

    sys.exit(predict_files(reference, inputs, output))
