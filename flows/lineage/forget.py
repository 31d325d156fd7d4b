"""Forgetting: exclude an image from all later training, and find what was trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.adapters.dvc import lockfile
from flows.adapters.mlflow import database
from flows.adapters.mlflow.store import Store
from flows.lineage import image_audit
from flows.lineage.image_audit import Occurrence
from flows.project.params_file import override
from flows.project.params_lock import turn
from flows.registry import versions
from flows.registry.versions import FORGOTTEN
from stages.core import paths
from stages.core.params import load_params

MOST = 5000 // 65
"""Ids of 64 characters that fit into a tag."""


@dataclass(frozen=True)
class Forgotten:
    """What forgetting came to: ids, and where each was seen."""

    ids: tuple[str, ...]
    new: tuple[str, ...]
    sightings: dict[str, list[Occurrence]]
    pool: dict[str, list[str]]
    """id → places in the pool of the workspace."""

    @property
    def models(self) -> list[str]:
        """``model@version`` of every registered version trained on one of them."""
        return sorted(
            {name for found in self.sightings.values() for one in found for name in one.registered}
        )


def forget(images: Sequence[str]) -> Forgotten:
    """Add images (files or ids) to ``curate.forgotten`` in params.yaml, and mark the versions that
    were trained on them.

    Nothing is deleted here: the next run drops them in curate, and everything below is made anew
    without them.

    Raises:
        ConfigError: what is given is neither an image nor an id. Then nothing is changed.
    """
    ids = tuple(dict.fromkeys(image_audit.find_id(image) for image in images))
    with turn(change=True):
        known = load_params().curate.forgotten
        new = tuple(one for one in ids if one not in known)
        if new:
            override([f"curate.forgotten=[{', '.join([*known, *new])}]"])
    sightings: dict[str, list[Occurrence]] = {one: [] for one in ids}
    if database.exists():
        store = Store.open()
        sightings = {one: list(image_audit.sightings(store, one)) for one in ids}
        _mark(store, sightings)
    return Forgotten(ids, new, sightings, _places(ids))


def _mark(store: Store, sightings: dict[str, list[Occurrence]]) -> None:
    by_model: dict[str, list[str]] = {}
    for one, found in sightings.items():
        for name in {name for sighting in found for name in sighting.registered}:
            by_model.setdefault(name, []).append(one)
    for name, ids in by_model.items():
        version = versions.resolve(store, name)
        before = version.tags.get(FORGOTTEN, "").split()
        version.tag({FORGOTTEN: " ".join(sorted({*before, *ids})[:MOST])})


def _places(ids: Sequence[str]) -> dict[str, list[str]]:
    if not paths.POOL_MANIFEST.is_file() or str(paths.POOL) not in {
        path for entry in lockfile.read_lock().values() for path in entry.outputs
    }:
        return {}
    import pandas as pd

    rows = pd.read_parquet(
        paths.POOL_MANIFEST, columns=["id", "uri"], filters=[("id", "in", list(ids))]
    )
    return {one: rows.loc[rows["id"] == one, "uri"].tolist() for one in ids}
