"""Why a stage is stale, in words that name the parameter, the file or the output; asked of DVC's
own stage objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flows.adapters.dvc import cache, notes

if TYPE_CHECKING:
    from flows.adapters.dvc.lockfile import LockEntry

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
    return notes.changes(path, dependency.hash_info.value)
