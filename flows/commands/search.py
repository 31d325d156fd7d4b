"""``rootstock search``: images like a given one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter
from stages.core.errors import ConfigError


def command(
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    within: Annotated[
        Path | None,
        typer.Option("--in", metavar="FOLDER", help="Search here instead of in the workspace."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, metavar="COUNT", help="How many to find.")] = 20,
    model: Annotated[str, typer.Option(metavar="MODEL@ALIAS")] = "rootstock-encoder@frozen-best",
    json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Show them: one page of thumbnails, no network needed."),
    ] = None,
) -> None:
    """Find the images most like a given one."""
    file = Path(image).resolve()
    if not file.is_file():
        raise ConfigError(f"{image or 'the image (an empty name)'} is no file")
    folder = within.resolve() if within else None
    page = html.resolve() if html else None
    enter()
    from flows.serving import search
    from flows.serving.embed import open_model

    found = search.search(*open_model(model), file, k, folder)
    print(search.as_json(found) if json else search.text(found))
    if page:
        search.write_page(found, page)
        print(f"page: {page}", file=sys.stderr if json else sys.stdout)
