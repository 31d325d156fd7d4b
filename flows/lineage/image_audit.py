"""The other way round: which data versions an image was in, why it was kept or dropped, and which
models were trained on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.adapters.dvc import cache
from flows.adapters.dvc.hashes import hash_of
from flows.adapters.mlflow import lineage_records
from flows.adapters.mlflow import store as tracking
from flows.adapters.mlflow.store import Store
from flows.data.versions import DataVersion
from flows.lineage import trace as lineage
from flows.project import worktrees
from flows.project.worktrees import WORKDIR
from flows.registry import versions
from stages.core import paths
from stages.core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Occurrence:
    """An image in one curated data version: the hash of the manifest, what was decided, and the
    runs that read it.
    """

    manifest: str
    names: tuple[str, ...]
    """What this data version is called: tags of ``rootstock data``, and WORKDIR where the workspace
    holds it.
    """
    split: str
    kept: bool
    reason: str
    uri: str
    trained: tuple[str, ...]
    """``stage run`` of every model trained on this version."""
    registered: tuple[str, ...]
    registered_from: dict[str, tuple[str, ...]]
    """Which of those runs each was registered from: run → versions."""


@dataclass(frozen=True)
class ModelStatus:
    """A model that is in use, and whether the image is in it: trained, not trained, or unknown
    where data is out of reach.
    """

    model: str
    aliases: tuple[str, ...]
    state: str


@dataclass(frozen=True)
class ImageReport:
    """Everything known about one image."""

    identity: str
    sightings: list[Occurrence]
    standings: list[ModelStatus]
    forgotten: bool
    """Whether ``curate.forgotten`` names it."""


def find_id(image: str) -> str:
    """The id of an image: itself where it is a sha256, the hash of the decoded file as ingest takes
    it, or what a manifest says of the image with this uri.

    Raises:
        ConfigError: neither a hash nor a readable image nor a uri that the pool or a data version
            knows.
    """
    if SHA256.fullmatch(image):
        return image
    path = Path(image)
    if not path.is_file():
        if (known := _of_uri(image)) is not None:
            return known
        raise ConfigError(
            f"{image} is neither a file nor a sha256 of 64 hex digits nor the uri of an image of a"
            " data version known here"
        )
    from stages.core.image.decode import Unreadable, content_id, decode
    from stages.core.image.pixel_store import PixelStore
    from stages.core.params import load_params

    store = PixelStore.open()
    try:
        return content_id(
            decode(path, store.shape[1], load_params().ingest.max_pixels, store.levels)
        )
    except Unreadable as error:
        raise ConfigError(f"{image} is no image: {error}") from None


def _of_uri(uri: str) -> str | None:
    """The id of the image with this uri, as reports print it, in the pool or a data version; None
    where there is none.
    """
    import pandas as pd

    try:
        uri.encode()
    except (
        UnicodeEncodeError
    ):  # the name of a file that is no text, of which a uri says so in signs that are
        return None
    stored = [cache.cached(digest) for digest in reversed(_names())]
    for manifest in filter(Path.is_file, [paths.POOL_MANIFEST, *stored]):
        ids = pd.read_parquet(manifest, columns=["id"], filters=[("uri", "==", uri)])["id"].dropna()
        if len(ids):
            return str(ids.iloc[0])
    return None


def audit(store: Store, identity: str) -> ImageReport:
    """Every curated data version the store knows and DVC can still show, that held the image, and
    the models in use.
    """
    from stages.core.params import load_params

    found = list(sightings(store, identity))
    return ImageReport(
        identity,
        found,
        list(_standings(store, identity, found)),
        identity in load_params().curate.forgotten,
    )


def _standings(store: Store, identity: str, found: list[Occurrence]) -> Iterator[ModelStatus]:
    """One for every version that an alias points at."""
    trained = {name for sighting in found for name in sighting.registered}
    for name in (versions.CLASSIFIER, versions.ENCODER):
        for version in versions.every(store, name):
            if version.aliases:
                title = f"{name}@{version.number}"
                steps = lineage.trace(version).steps.values()
                read = {
                    step.inputs[str(paths.CURATED_MANIFEST)]
                    for step in steps
                    if str(paths.CURATED_MANIFEST) in step.inputs
                }
                seen = bool(read) and all(_rows(digest, identity) is not None for digest in read)
                state = "trained" if title in trained else "not trained" if seen else "unknown"
                yield ModelStatus(title, version.aliases, state)


def sightings(store: Store, identity: str) -> Iterator[Occurrence]:
    """Every curated data version with the image in it, the newest first."""
    steps = [
        lineage.Step.of(run) for run in store.facts.finished_runs() if tracking.OUTPUTS in run.tags
    ]
    made_from = _registered(store)
    path = str(paths.CURATED_MANIFEST)
    called = _names()
    for digest in dict.fromkeys(step.outputs[path] for step in steps if path in step.outputs):
        rows = _rows(digest, identity)
        if rows is None or not len(rows):
            continue
        readers = [
            step for step in steps if step.inputs.get(path) == digest and _makes_models(step)
        ]
        registered = {
            step.run: tuple(made_from[step.run]) for step in readers if step.run in made_from
        }
        for row in rows.to_dict("records"):
            kept = bool(row["keep"])
            trained = tuple(f"{step.stage} {step.run}" for step in readers) if _trains(row) else ()
            yield Occurrence(
                manifest=digest,
                names=tuple(called.get(digest, ())),
                split=str(row["split"]),
                kept=kept,
                reason=str(row.get("reason") or ""),
                uri=str(row["uri"]),
                trained=trained,
                registered=(
                    tuple(name for names in registered.values() for name in names)
                    if trained
                    else ()
                ),
                registered_from=registered if trained else {},
            )


def _names() -> dict[str, list[str]]:
    """Hash of a curated manifest → what the data version is called."""
    found: dict[str, list[str]] = {}
    for name in (*worktrees.data_tags(Path()), WORKDIR):
        if digest := DataVersion(Path(), name).digest(paths.CURATED_MANIFEST):
            found.setdefault(digest, []).append(name)
    return found


def _trains(row: dict[Any, Any]) -> bool:
    """Whether a model sees the image while it learns: kept, and in no held-out split."""
    return bool(row["keep"]) and row["split"] not in {"val", "test"}


def _makes_models(step: lineage.Step) -> bool:
    return any(lineage_records.is_model(path, digest) for path, digest in step.outputs.items())


def _rows(digest: str, identity: str) -> pd.DataFrame | None:
    """The image's rows in a manifest, from the workspace or DVC's cache; None where neither has
    it.
    """
    import pandas as pd

    stored = cache.cached(digest)
    source = stored if stored.is_file() else paths.CURATED_MANIFEST
    if not source.is_file() or (source != stored and hash_of(source) != digest):
        return None
    return pd.read_parquet(source, filters=[("id", "==", identity)])


def _registered(store: Store) -> dict[str, list[str]]:
    """Run → ``model@version`` of what was registered from it, the newest first."""
    found: dict[str, list[str]] = {}
    for name in (versions.CLASSIFIER, versions.ENCODER):
        for version in versions.every(store, name):
            found.setdefault(version.stage_run, []).append(f"{name}@{version.number}")
    return found


def text(trail: ImageReport) -> str:
    """The answer as lines."""
    lines = [
        trail.identity
        + ("  (forgotten: curate.forgotten in params.yaml names it)" if trail.forgotten else "")
    ]
    if not trail.sightings:
        lines.append("  is in no data version that this store and DVC's cache know")
    for sighting in trail.sightings:
        version = ", ".join(sighting.names) or "without a name"
        lines.append(
            f"  data version {version} (manifest {sighting.manifest})  {sighting.uri}  split"
            f" {sighting.split}"
        )
        lines.append("    kept" if sighting.kept else f"    dropped: {sighting.reason}")
        for made in sighting.trained:
            names = sighting.registered_from.get(made.rpartition(" ")[2], ())
            lines.append(
                f"    trained {made}" + (f", registered as {', '.join(names)}" if names else "")
            )
    said = {
        "trained": "was trained on it",
        "not trained": "was not trained on it",
        "unknown": "cannot be told: its data is not here (dvc pull)",
    }
    lines += [
        f"  {one.model} ({', '.join(one.aliases)}) {said[one.state]}" for one in trail.standings
    ]
    return "\n".join(lines)


def as_json(trail: ImageReport) -> str:
    """The answer for other programs."""
    return json.dumps(asdict(trail), indent=2)
