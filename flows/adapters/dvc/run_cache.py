"""DVC's run cache between worktrees: what a stage would be made from, restoring what another
worktree made, pinning data.

Two cells of an experiment share a stage when its command, inputs and parameters agree.
:func:`signature` names that, a lock per signature lets one cell run it, and :func:`restore` brings
the result to the others without starting a process.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from flows.adapters.dvc.lockfile import LockEntry
from flows.adapters.dvc.repository import repository
from stages.core.errors import ConfigError
from stages.core.io import canonical_json, write_text

DVC_FILE, LOCK_FILE = Path("dvc.yaml"), Path("dvc.lock")


def signature(name: str) -> str:
    """Hash of command, input hashes and parameter values of a stage as they are now: equal where
    one run serves both.
    """
    with repository() as found:
        stage = _stage(found, name)
        stage.save_deps()
        inputs = sorted(
            [dependency.def_path, str(dependency.hash_info.value)] for dependency in stage.deps
        )
        text = canonical_json([name, stage.cmd, inputs, sorted(out.def_path for out in stage.outs)])
    return hashlib.sha256(text.encode()).hexdigest()


def restore(name: str) -> bool:
    """Bring the outputs of an earlier run of the same stage on the same inputs into the workspace;
    False where there is none.
    """
    from dvc.stage.cache import RunCacheNotFoundError
    from dvc_data.hashfile.hash_info import HashInfo

    logging.getLogger("dvc").setLevel(
        logging.WARNING
    )  # it would tell every checkout on the console
    with repository() as found:
        stage = _stage(found, name)
        stage.save_deps()
        for out in stage.outs:
            out.hash_info = HashInfo()  # what dvc.lock says belongs to the old inputs
        try:
            found.stage_cache.restore(stage, dry=True)
        except RunCacheNotFoundError:
            return False
        if stage.reproduce():
            stage.dump(update_pipeline=False)
    return True


def data_stages() -> list[str]:
    """The stages whose outputs are a dataset version: those marked ``meta: {data: true}``, else
    those fed by no other stage.
    """
    with repository() as found:
        graph = found.index.graph
        marked = [stage.addressing for stage in graph if (stage.meta or {}).get("data")]
        return sorted(
            marked or [stage.addressing for stage in graph if not list(graph.successors(stage))]
        )


def pin(names: Iterable[str], lock_text: str) -> dict[str, LockEntry]:
    """Fix stages of this worktree to what a version's ``dvc.lock`` says: entries copied, stages
    frozen, outputs checked out.

    Raises:
        ConfigError: the version has no entry for a stage, or its outputs are in no reachable cache.
    """
    names = list(names)
    source = (yaml.safe_load(lock_text) or {}).get("stages", {})
    if missing := [name for name in names if name not in source]:
        raise ConfigError(
            f"its dvc.lock has no entry for {', '.join(missing)}: run the pipeline at that version"
            " and tag it again"
        )
    lock = (yaml.safe_load(LOCK_FILE.read_text()) if LOCK_FILE.is_file() else None) or {
        "schema": "2.0",
        "stages": {},
    }
    lock["stages"].update({name: source[name] for name in names})
    write_text(LOCK_FILE, yaml.safe_dump(lock, sort_keys=False, allow_unicode=True))
    _freeze(names)
    check_out(names)
    return {name: LockEntry.parse(name, source[name]) for name in names}


def check_out(names: Iterable[str]) -> None:
    """Outputs of the stages as ``dvc.lock`` names them, from the cache, or from the remote where
    the cache lacks them.

    Raises:
        ConfigError: neither has them.
    """
    from dvc.exceptions import CheckoutError, DvcException

    with repository() as found:
        for name in names:
            try:
                found.checkout(targets=[name], force=True)
            except CheckoutError:
                try:
                    found.fetch(targets=[name])
                    found.checkout(targets=[name], force=True)
                except DvcException as error:
                    words = " ".join(str(error).split())
                    raise ConfigError(
                        f"the outputs of {name} are neither in DVC's cache nor at its remote:"
                        f" {words}"
                    ) from None


def _freeze(names: Iterable[str]) -> None:
    document = yaml.safe_load(DVC_FILE.read_text())
    for name in names:
        stage = document["stages"][name.partition("@")[0]]
        stage["frozen"] = True
    write_text(DVC_FILE, yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=4096))


def _stage(found: Any, name: str) -> Any:
    for stage in found.index.stages:
        if stage.addressing == name:
            return stage
    raise ConfigError(f"there is no stage {name!r} in dvc.yaml")
