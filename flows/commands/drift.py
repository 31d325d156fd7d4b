"""``rootstock drift``: do new images still look like what the champion was trained on?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter


def command(
    images: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="New images; default: those predict has seen."),
    ] = None,
) -> None:
    """Tell whether new images are unlike the training images.

    They are seen through the champion's eyes. Exit code 1 when it raises an alarm.
    """
    given = images.resolve() if images else None
    root = enter()
    from flows.monitoring import drift, report
    from stages.core.errors import Refused

    found = drift.check(root, given)
    print(found.sentence)
    if found.unreadable:
        print(f"{found.unreadable} images could not be read")
    print(f"report: {root / report.FOLDER / 'index.html'}")
    if found.alarm:
        raise Refused(f"drift: {', '.join(found.reasons)}")
