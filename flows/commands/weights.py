"""``rootstock weights``: public weights to start from, fetched once, on a person's word."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import resumable
from stages.core.errors import ConfigError

command = typer.Typer(help="Public weights to start pretraining from.", no_args_is_help=True)


@command.command()
def get(
    start: Annotated[
        str,
        typer.Argument(
            metavar="timm:NAME|torchvision:NAME", help="For example timm:resnet18.a1_in1k."
        ),
    ],
) -> None:
    """Fetch weights into .rootstock/weights, with their SHA-256, licence and origin.

    Runs never download: pretrain.start reads what is there.
    """
    from flows.project import environment
    from stages.core.io import read_json
    from stages.core.starts import PUBLIC, described, split_start

    kind, name = split_start(start)
    if kind not in PUBLIC or not name:
        raise ConfigError(
            f"weights get: {start!r} names no public weights; timm:NAME and torchvision:NAME do"
        )
    environment.enter(environment.find_root())
    with resumable():
        from stages.core.models.public_weights import fetch

        place = fetch(start)
    about = read_json(described(start))
    print(f"{place}  SHA-256 {about['sha256']}")
    print(f"licence: {about['licence'] or 'not stated'}; origin: {about['origin']}")
    print(f"start from it with: rootstock run --set pretrain.start={start}")
