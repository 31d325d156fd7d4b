"""Stage inputs: the small files under .rootstock that stages depend on, refreshed before a plan.

``fingerprint.json`` stands for the sources, ``encoder.json`` for a registered encoder,
``start.json`` for the weights that pretraining starts from, and ``plugins/<stage>.json`` for the
code of the plugins that params.yaml names: a stage depends on those it uses, and not on the folder
they share with others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import yaml

from flows.adapters.dvc.code_dependencies import import_closure, is_empty
from flows.adapters.dvc.lockfile import LOADER
from flows.registry import encoder_files, start_files
from stages.core import paths
from stages.core.data import sources
from stages.core.families import FAMILIES
from stages.core.io import refresh_json
from stages.core.params import Params


def refresh(params: Params, folder: Path | None = None, images: bool = True) -> dict[str, str]:
    """Bring the files up to date, touching those only whose content changes.

    Args:
        folder: where to write them, for a plan that must leave the project as it is.
        images: whether to look through the sources, too.

    Returns:
        the path a stage depends on → the file to look at.

    Raises:
        ConfigError: a source, an encoder, a start or a plugin does not exist.
    """
    inputs = (paths.FINGERPRINT, paths.ENCODER, paths.START, paths.TEACHER)
    places = {path: folder / path.name if folder else path for path in inputs}
    if images:
        sources.write_fingerprint(params, path=places[paths.FINGERPRINT])
    encoder_files.materialise(params, places[paths.ENCODER])
    start_files.materialise(params, places[paths.START], places[paths.TEACHER])
    for stage, dependencies in _stages_with_plugins().items():
        path = paths.plugins(stage)
        places[path] = folder / f"plugins-{path.name}" if folder else path
        refresh_json(places[path], plugin_code(stage, params, dependencies))
    return {str(path): str(place) for path, place in places.items()}


def plugin_code(
    stage: str, params: Params, dependencies: Iterable[str]
) -> dict[str, dict[str, dict[str, str]]]:
    """Return key → plugin → file → hash, for the plugins of a stage that the parameters name.

    The files are those a plugin reaches by import, without those the stage depends on by itself.
    """
    root = Path().resolve()
    own = {root / dependency for dependency in dependencies}

    def known(module: Path) -> bool:
        return not own.isdisjoint((module, *module.parents))

    found: dict[str, dict[str, dict[str, str]]] = {}
    for family in FAMILIES:
        if stage not in family.stages:
            continue
        members = found.setdefault(family.key, {})
        for name in sorted(set(family.used(params))):
            family.check(name)
            closure = import_closure([root / family.folder / f"{name}.py"], root, known)
            members[name] = {
                str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
                for file in sorted(closure)
                if not is_empty(file)
            }
    return found


def _stages_with_plugins(path: Path = Path("dvc.yaml")) -> dict[str, list[str]]:
    """Stages of the graph that depend on the code of their plugins → all their dependencies."""
    document = yaml.load(path.read_text(), LOADER) or {}
    stages = {
        name: [dep for dep in stage.get("deps", []) if isinstance(dep, str)]
        for name, stage in (document.get("stages") or {}).items()
        if isinstance(stage, dict)
    }
    return {name: deps for name, deps in stages.items() if str(paths.plugins(name)) in deps}
