"""What the curation figures are measured on: the shared archives, extracted once, and pools made of
them by the ingest stage.
"""

from __future__ import annotations

import importlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.events import Tracker
from stages.core.image.pixel_store import PixelStore
from stages.core.params import Params, load_params
from stages.core.progress import Progress

ROOT = Path(__file__).resolve().parents[1]
ARCHIVES = ROOT.parent / "shared" / "data"


def extracted(name: str, scratch: Path) -> Path:
    """The folder of an archive such as ``cifar10``, extracted where it is not yet."""
    folder, done = scratch / "data" / name, scratch / "data" / f"{name}.complete"
    if not done.is_file():
        with zipfile.ZipFile(ARCHIVES / f"{name}.zip") as archive:
            members = archive.namelist()
            with Progress(f"extract {name}", len(members), "files") as bar:
                for member in members:
                    archive.extract(member, scratch / "data")
                    bar.advance()
        done.touch()
    return folder


@contextmanager
def workplace(scratch: Path, name: str) -> Iterator[Path]:
    """A project folder of its own to work in; what it holds is reused by the next run."""
    folder = scratch / name
    folder.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


@cache
def _parameters() -> Params:
    """Read once: a run that takes half an hour is not to change on the way."""
    return load_params(ROOT / paths.PARAMS)


def params_with(**sections: dict[str, Any]) -> Params:
    """The project's parameters with some values changed."""
    values = _parameters().model_dump(by_alias=True)
    for section, changes in sections.items():
        values[section] |= changes
    return Params.model_validate(values)


def run_stage(name: str, params: Params) -> None:
    """What ``python -m stages.<name>`` does, here and now."""
    main = importlib.import_module(f"stages.{name}.__main__").main
    with Tracker(name) as track:
        main.__wrapped__(params, track)


def ingest(source: object, **changes: object) -> tuple[Manifest, PixelStore]:
    """Manifest and pixels of a source, nothing held out unless asked for; unchanged sources are not
    read again.
    """
    held_out = {"validation_fraction": 0, "test_fraction": 0, "labelled_fraction": 1}
    run_stage("ingest", params_with(ingest={"source": source, **held_out, **changes}))
    return Manifest.read(paths.POOL_MANIFEST), PixelStore.open()


def unlabelled(manifest: Manifest, keep: np.ndarray) -> Manifest:
    """The same rows without labels, all of them for pretraining; those not in ``keep`` (a mask) are
    out.
    """
    status = np.where(keep & manifest.ok, "ok", "quarantined")
    return Manifest(manifest.frame.assign(label=None, split="none", role="pool", status=status))
