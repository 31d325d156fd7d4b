"""``rootstock map``: all images of the workspace on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter
from stages.core.errors import ConfigError, nearest

LAYOUTS = ("pca", "tsne")


def command(
    model: Annotated[str, typer.Option(metavar="MODEL@ALIAS")] = "rootstock-encoder@frozen-best",
    layout: Annotated[
        str, typer.Option(metavar="NAME", help="pca, or tsne (minutes for many images).")
    ] = "pca",
    to: Annotated[Path, typer.Option(metavar="FILE", help="The page.")] = Path("reports/map.html"),
) -> None:
    """Draw the images of the workspace by likeness.

    One page that needs no network: pan, zoom, colour by class, split, source or kept, show the
    picture under the pointer, select ids with a lasso.
    """
    if layout not in LAYOUTS:
        hint = nearest(layout, list(LAYOUTS))
        raise ConfigError(f"--layout {layout}: {hint}choose from {', '.join(LAYOUTS)}")
    page = to.resolve()
    enter()
    from flows.serving.map import write_map

    print(write_map(model, layout, page))
