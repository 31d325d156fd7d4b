"""Trust nothing: hash every artifact behind a version again, and ask its weights again what the
evaluation says they answered.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.adapters.dvc import cache as dvc_cache
from flows.adapters.dvc import lockfile
from flows.adapters.dvc.hashes import hash_of
from flows.evaluation.predictions import answers
from flows.lineage.trace import SOURCES, Chain
from flows.registry.versions import CLASSIFIER, ModelVersion
from stages.core import paths
from stages.core.errors import RootstockError

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """One thing looked at: ``state`` is ok, differs or unreachable."""

    what: str
    state: str
    found: str = ""


def verify(chain: Chain) -> Iterator[Check]:
    """Check every output in the chain where it lies (workspace and DVC cache), the registered
    weights, and the evaluation.
    """
    lock = lockfile.outputs()
    seen: set[tuple[str, str]] = set()
    steps = [*chain.steps.values(), *([chain.evaluation] if chain.evaluation else [])]
    for step in steps:
        for path, digest in step.outputs.items():
            if (path, digest) not in seen:
                seen.add((path, digest))
                yield from _artifact(
                    f"{step.stage}: {path}", Path(path), digest, lock.get(path) == digest
                )
    for step in steps:
        recorded = step.inputs.get(SOURCES)
        if recorded:
            yield _sources(recorded)
    yield _weights(chain.version, lock)
    if chain.version.name == CLASSIFIER:
        pools = {
            step.outputs[pool] for step in steps if (pool := paths.POOL.as_posix()) in step.outputs
        }
        yield _evaluation(chain.version, lock.get(paths.POOL.as_posix()) in pools)


def _artifact(what: str, path: Path, digest: str, in_workspace: bool) -> Iterator[Check]:
    reached = False
    if in_workspace and path.exists():
        reached = True
        found = hash_of(path)
        yield Check(
            what,
            "ok" if found == digest else "differs",
            "" if found == digest else f"{path} hashes to {found}",
        )
    cache = dvc_cache.folder()
    stored = dvc_cache.cached(digest, cache)
    if stored.is_file():
        reached = True
        broken = list(_broken(stored, digest, cache))
        yield Check(f"{what} (cache)", "differs" if broken else "ok", ", ".join(broken))
    if not reached:
        yield Check(
            what,
            "unreachable",
            "neither in the workspace nor in DVC's cache: dvc pull may bring it",
        )


def _broken(stored: Path, digest: str, cache: Path) -> Iterator[str]:
    """Names of what differs below one object of the cache."""
    if hash_of(stored) != digest.removesuffix(".dir"):
        yield str(stored)
    elif digest.endswith(".dir"):
        for item in json.loads(stored.read_bytes()):
            file = dvc_cache.cached(item["md5"], cache)
            if not file.is_file() or hash_of(file) != item["md5"]:
                yield f"{item['relpath']} ({file})"


def _sources(recorded: str) -> Check:
    """The sources are looked through again. Other images in them by now are no fault: what a model
    learnt from is its pool.
    """
    from stages.core.data.sources import write_fingerprint
    from stages.core.params import load_params

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = hash_of(
                write_fingerprint(load_params(), path=Path(folder) / paths.FINGERPRINT.name)
            )
        except RootstockError as error:
            return Check("source images", "unreachable", str(error))
    if found == recorded:
        return Check("source images", "ok")
    return Check(
        "source images",
        "unreachable",
        f"the sources hold other images now; the model was trained on its {paths.POOL}",
    )


def _weights(version: ModelVersion, lock: dict[str, str]) -> Check:
    """The files that are served are, byte for byte, the stage's output."""
    found = hash_of(version.artifact)
    same = found == version.digest
    return Check(
        f"{version.name} {version.title}",
        "ok" if same else "differs",
        "" if same else f"hashes to {found}",
    )


def _evaluation(version: ModelVersion, same_pool: bool) -> Check:
    """The registered weights still answer what the evaluation wrote down; of another pool only
    agreement says something.
    """
    import numpy as np

    from stages.core.data.manifest import Manifest
    from stages.core.image.pixel_store import PixelStore
    from stages.core.models.batch_inference import input_shape, predict_rows

    recorded = answers(version)
    if recorded is None or not paths.CURATED_MANIFEST.is_file() or not paths.POOL_PIXELS.is_dir():
        return Check("evaluation", "unreachable", "its predictions or the pixels are not here")
    manifest = Manifest.read(paths.CURATED_MANIFEST)
    rows = {name: row for row, name in enumerate(manifest.frame["id"]) if isinstance(name, str)}
    ids = recorded.table["id"].astype(str)
    if not set(ids) <= set(rows):
        return Check("evaluation", "unreachable", "the workspace holds other images")
    store = PixelStore.open()
    if store.shape[1:3] != input_shape(version.artifact):
        side = store.shape[-1]
        return Check(
            "evaluation",
            "unreachable",
            f"the workspace holds these images at {side} x {side} pixels, it saw them otherwise",
        )
    places = np.array([rows[name] for name in ids])
    _, found = predict_rows(version.artifact, store, places, "evaluating again")
    gap = float(np.abs(found - recorded.probabilities).max())
    said = f"largest difference {gap:.2g} over {len(ids)} images"
    if gap > TOLERANCE and not same_pool:
        return Check(
            "evaluation",
            "unreachable",
            f"the workspace holds these images from another ingest; {said}",
        )
    return Check("evaluation", "ok" if gap <= TOLERANCE else "differs", said)
