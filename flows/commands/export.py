"""``rootstock export``: a registered model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter

FORMATS = ("onnx", "torch", "timm")


def command(
    reference: Annotated[
        str,
        typer.Argument(metavar="MODEL@ALIAS", help="For example rootstock-classifier@champion."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file; for timm a folder.")],
    format: Annotated[
        str, typer.Option(metavar="|".join(FORMATS), help="What the other program reads.")
    ] = "onnx",
) -> None:
    """Write a registered model for other programs.

    As ONNX, as a torch.export program or as weights timm loads; it takes the same uint8 images.
    """
    target = out.resolve()
    enter()
    from flows.serving import export as exporting

    print(exporting.export(reference, format, target))
