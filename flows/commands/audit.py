"""``rootstock audit``: where an image went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import enter


def command(
    image: Annotated[str, typer.Argument(metavar="IMAGE|URI|SHA256")],
    json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Say which data versions and models an image went into.

    For each version: its split, and why it was kept or dropped; then which models were trained on
    it.

    An image is named by its file, by the uri that reports and manifests print (folder:cat/1.jpg),
    or by its id.
    """
    file = Path(image).resolve()
    enter()
    from flows.adapters.mlflow.store import Store
    from flows.lineage import image_audit

    identity = image_audit.find_id(str(file) if file.is_file() else image)
    found = image_audit.audit(Store.open(), identity)
    print(image_audit.as_json(found) if json else image_audit.text(found))
