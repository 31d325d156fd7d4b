"""``rootstock forget``: an image that must not be used any more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import enter

if TYPE_CHECKING:
    from flows.adapters.dvc.plan import Plan
    from flows.lineage.forget import Forgotten


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
    from flows.lineage.forget import forget
    from flows.pipeline.planning import dry_plan

    print(report(forget(given), dry_plan()))


def report(found: Forgotten, plan: Plan) -> str:
    """Return the answer as lines."""
    lines = []
    for one in found.ids:
        places = found.pool.get(one, [])
        where = (
            ", ".join(places)
            or "not in the pool of the workspace: it will be dropped if it ever comes"
        )
        lines.append(f"{one}  {where}{'' if one in found.new else '  (forgotten before)'}")
    stale = [name for name in plan.order if plan.stale(name)]
    below = [name for name in plan.order if name not in stale and plan.waits_for(name)]
    lines.append(
        f"stale stages: {', '.join(stale) or 'none'}"
        + (f"; below them: {', '.join(below)}" if below else "")
    )
    lines.append(f"registered models trained on them: {', '.join(found.models) or 'none'}")
    if stale:
        lines.append(
            "rootstock run makes everything again without them; rootstock audit IMAGE then shows"
            " that they are gone"
        )
    return "\n".join(lines)
