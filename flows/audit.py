"""The other way round: which data versions an image was in, why it was kept or dropped, and which models were trained on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import entries, lineage, tracking, versions
from flows.tracking import Store
from stages.core import paths
from stages.core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

CACHE = Path(".dvc/cache/files/md5")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Sighting:
    """An image in one curated data version: the hash of the manifest, what was decided, and the runs that read it."""

    manifest: str
    split: str
    kept: bool
    reason: str
    uri: str
    trained: tuple[str, ...]
    """``stage run`` of every model trained on this version."""
    registered: tuple[str, ...]


def find_id(image: str) -> str:
    """The id of an image: itself where it is a sha256, else the hash of the decoded file as ingest takes it.

    Raises:
        ConfigError: neither a hash nor a readable image.
    """
    if SHA256.fullmatch(image):
        return image
    path = Path(image)
    if not path.is_file():
        raise ConfigError(f"{image} is neither a file nor a sha256 of 64 hex digits")
    from stages.core.images import Unreadable, content_id, decode
    from stages.core.pixels import PixelStore

    channels = PixelStore.open().shape[1]
    try:
        return content_id(decode(path, channels, 50_000_000))
    except Unreadable as error:
        raise ConfigError(f"{image} is no image: {error}") from None


def audit(store: Store, identity: str) -> list[Sighting]:
    """Every curated data version the store knows and DVC can still show, that held the image."""
    return list(_sightings(store, identity))


def _sightings(store: Store, identity: str) -> Iterator[Sighting]:
    runs = store.client.search_runs([store.experiment], "attributes.status = 'FINISHED'", max_results=5000)
    steps = [lineage.Step.of(run) for run in runs if tracking.OUTPUTS in run.data.tags]
    path = str(paths.CURATED_MANIFEST)
    for digest in dict.fromkeys(step.outputs[path] for step in steps if path in step.outputs):
        rows = _rows(digest, identity)
        if rows is None or not len(rows):
            continue
        readers = [step for step in steps if step.inputs.get(path) == digest and _makes_models(step)]
        registered = [name for step in readers for name in _registered(store, step.run)]
        for row in rows.to_dict("records"):
            kept = bool(row["keep"])
            trained = tuple(f"{step.stage} {step.run}" for step in readers) if _trains(row) else ()
            yield Sighting(
                manifest=digest,
                split=str(row["split"]),
                kept=kept,
                reason=str(row.get("reason") or ""),
                uri=str(row["uri"]),
                trained=trained,
                registered=tuple(dict.fromkeys(registered)) if trained else (),
            )


def _trains(row: dict[Any, Any]) -> bool:
    """Whether a model sees the image while it learns: kept, and in no held-out split."""
    return bool(row["keep"]) and row["split"] not in {"val", "test"}


def _makes_models(step: lineage.Step) -> bool:
    return any(entries.is_model(path, digest) for path, digest in step.outputs.items())


def _rows(digest: str, identity: str) -> pd.DataFrame | None:
    """The image's rows in a manifest, from the workspace or DVC's cache; None where neither has it."""
    import pandas as pd

    from flows.verification import hash_of

    stored = CACHE / digest[:2] / digest[2:]
    source = stored if stored.is_file() else paths.CURATED_MANIFEST
    if not source.is_file() or (source != stored and hash_of(source) != digest):
        return None
    return pd.read_parquet(source, filters=[("id", "==", identity)])


def _registered(store: Store, run: str) -> list[str]:
    """``model@version`` of what was registered from a run."""
    found = store.client.search_model_versions(f"tags.`{versions.STAGE_RUN}` = '{run}'")
    return [f"{version.name}@{version.version}" for version in found]


def text(identity: str, sightings: list[Sighting]) -> str:
    """The answer as lines."""
    if not sightings:
        return f"{identity} is in no data version that this store and DVC's cache know"
    lines = [identity]
    for sighting in sightings:
        lines.append(f"  data version {sighting.manifest}  {sighting.uri}  split {sighting.split}")
        lines.append("    kept" if sighting.kept else f"    dropped: {sighting.reason}")
        lines += [f"    trained {made}" for made in sighting.trained]
        lines += [f"    registered as {name}" for name in sighting.registered]
    return "\n".join(lines)


def as_json(sightings: list[Sighting]) -> str:
    """The answer for other programs."""
    return json.dumps([vars(sighting) for sighting in sightings], indent=2)
