"""``rootstock forget``: an image that must not be used any more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter


def command(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|URI|SHA256…")],
) -> None:
    """Exclude images from all later training and evaluation.

    Says which stages that makes stale, and which models were trained on them.

    An image is named by its file, by the uri that reports and manifests print (folder:cat/1.jpg),
    or by its id.
    """
    given = [str(Path(image).resolve()) if Path(image).is_file() else image for image in images]
    enter()
    from flows.lineage.forget import forget, text

    print(text(forget(given)))
