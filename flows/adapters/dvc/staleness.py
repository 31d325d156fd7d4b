"""Staleness: why a stage must run again, by parameter, file or output.

:func:`reasons` asks DVC's own stage objects. :func:`remember` notes what the hashes of a stage that
has run stood for, so that a later plan can name the files that changed; nothing depends on these
notes: where one is missing or damaged, a plan names the dependency and no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.adapters.dvc import cache
from flows.adapters.dvc.hashes import hash_of
from stages.core import paths
from stages.core.errors import DataError
from stages.core.io import read_json, write_json

if TYPE_CHECKING:
    from flows.adapters.dvc.lockfile import LockEntry

CODE, SOURCES, PLUGINS = (paths.CACHE / name for name in ("code", "sources", "plugins"))
NEVER = "never ran"
LOST = {"deleted": "is missing", "modified": "is not what dvc.lock says"}
"""What can become of an output that DVC's cache still has."""


def reasons(stage: Any) -> list[str]:
    """One short phrase per cause, the most telling first."""
    from dvc.dependency.param import ParamsDependency

    if not any(out.hash_info for out in stage.outs) and not any(
        dep.hash_info for dep in stage.deps
    ):
        return [NEVER]
    found: list[str] = []
    for dependency in () if stage.frozen else stage.deps:
        if isinstance(dependency, ParamsDependency):
            found += _changed_params(dependency)
        elif (state := dependency.status()) and dependency.hash_info:
            found += _changed_path(dependency, state)
        elif state:
            found.append(f"{dependency.def_path} is a new dependency")
    if stage.changed_stage() and not stage.frozen:
        found.append("its command changed")
    for out in stage.outs:
        if only_here(out):
            continue  # a run puts it back into the cache
        for path, state in out.status().items():
            word = {**LOST, "not in cache": "is not in DVC's cache"}.get(state, state)
            found.append(f"{path} {word}")
    return found


def only_here(out: Any) -> bool:
    """Whether the workspace holds an output as dvc.lock describes it and the cache has lost it."""
    return bool(
        out.hash_info
        and out.use_cache
        and out.exists
        and out.changed_cache()
        and not out.workspace_status()
    )


def comes_back(
    order: Iterable[str], reasons: Mapping[str, list[str]], lock: Mapping[str, LockEntry]
) -> dict[str, bool]:
    """Stages for which nothing has to be computed: they lost an output that the cache has (True),
    or only an input that comes back in this way (False).
    """
    found, back = dict[str, bool](), set[str]()
    for name in order:
        if name not in lock or not reasons[name]:
            continue
        outputs = lock[name].outputs
        lost = {f"{path} {word}" for path in outputs for word in LOST.values()}
        without = {f"{path} {word}" for path in back for word in ("is missing", "changed")}
        if not set(reasons[name]) <= lost | without:
            continue
        found[name] = bool(set(reasons[name]) & (lost - without))
        if found[name] and all(map(cache.complete, outputs.values())):
            back |= outputs.keys()
        elif found[name]:
            del found[name]
    return found


def _changed_params(dependency: Any) -> list[str]:
    known = dependency.hash_info.value if dependency.hash_info else {}
    before, after = _flat(known or {}), _flat(dependency.read_params(flatten=True))
    changed = []
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            old = json.dumps(before[key]) if key in before else "(new)"
            new = json.dumps(after[key]) if key in after else "(removed)"
            changed.append(f"{key} {old} → {new}")
    return changed


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _changed_path(dependency: Any, state: Mapping[str, str]) -> list[str]:
    path = dependency.def_path
    if "deleted" in state.values():
        return [f"{path} is missing"]
    return changes(path, dependency.hash_info.value)


def remember(entry: LockEntry) -> None:
    """Keep what is behind the hashes of a stage's code and of its sources."""
    for path, digest in entry.dependencies.items():
        if Path(path) == paths.FINGERPRINT:
            if (
                paths.FINGERPRINT.is_file() and hash_of(paths.FINGERPRINT) == digest
            ):  # what the stage read, and not what has changed since
                _keep(SOURCES / f"{digest}.json", _sources())
        elif paths.PLUGINS in Path(path).parents:
            if Path(path).is_file() and hash_of(Path(path)) == digest:
                _keep(PLUGINS / f"{digest}.json", _known(Path(path)))
        elif digest.endswith(".dir") and _is_code(path):
            _keep(CODE / f"{digest}.json", _code_hashes(Path(path)))


def changes(path: str, digest: str) -> list[str]:
    """Phrases that say how a dependency differs from the one with this hash."""
    if Path(path) == paths.FINGERPRINT:
        return _changed_sources(_known(SOURCES / f"{digest}.json"), _sources()) or [
            f"{path} changed"
        ]
    if paths.PLUGINS in Path(path).parents:
        found = _changed_plugins(_known(PLUGINS / f"{digest}.json"), _known(Path(path)))
        return found or [f"{path} changed"]
    if not _is_code(path):
        return [f"{path} changed"]
    before = _known(CODE / f"{digest}.json") if Path(path).is_dir() else {}
    after = _code_hashes(Path(path)) if before else {}
    files = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [f"code: {name}" for name in files] or [f"code: {path}"]


def _changed_sources(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """``folder: 800 → 1,200 files``, one phrase per source that changed."""
    if not before or not after:
        return []
    found = []
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            found.append(f"source {name} is {'new' if name in after else 'gone'}")
        elif before[name]["files"] != after[name]["files"]:
            found.append(
                f"source {name}: {before[name]['files']:,} → {after[name]['files']:,} files"
            )
        elif before[name] != after[name]:
            files = after[name]["files"]
            found.append(
                f"source {name}: some of its {files:,} files are others"
                if files
                else f"source {name} is given otherwise"
            )
    return found


def _changed_plugins(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """``code: FILE`` for each file of a plugin used then and now, and plugins that are new."""
    found: list[str] = []
    for key, members in after.items() if before else ():
        for name, files in members.items():
            known = before.get(key, {}).get(name)
            if known is None:
                found.append(f"{key} uses {name}")
            else:
                changed = {file for file in {*known, *files} if known.get(file) != files.get(file)}
                found += [f"code: {file}" for file in sorted(changed)]
    return list(dict.fromkeys(found))


def _sources() -> dict[str, Any]:
    """Source → its part of the fingerprint."""
    return {one["source"]: one for one in _known(paths.FINGERPRINT).get("sources", [])}


def _known(note: Path) -> dict[str, Any]:
    try:
        found = read_json(note)
    except DataError:
        return {}
    return found if isinstance(found, dict) else {}


def _keep(note: Path, content: Mapping[str, Any]) -> None:
    if not note.is_file():
        write_json(note, content)


def _is_code(path: str) -> bool:
    return path.endswith(".py") or next(Path(path).rglob("*.py"), None) is not None


def _code_hashes(folder: Path) -> dict[str, str]:
    files = (
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    )
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
