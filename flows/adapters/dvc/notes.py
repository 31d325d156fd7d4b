"""What the hashes in ``dvc.lock`` stood for: notes kept when a stage has run, so that a later plan
can say what changed.

Nothing depends on them: where one is missing or damaged, a plan names the dependency and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core import paths
from stages.core.errors import DataError
from stages.core.io import read_json, write_json

if TYPE_CHECKING:
    from flows.adapters.dvc.lockfile import LockEntry

CODE, SOURCES = paths.CACHE / "code", paths.CACHE / "sources"


def remember(entry: LockEntry) -> None:
    """Keep what is behind the hashes of a stage's code and of its sources."""
    for path, digest in entry.dependencies.items():
        if Path(path) == paths.FINGERPRINT:
            if (
                _md5(paths.FINGERPRINT) == digest
            ):  # what the stage read, and not what has changed since
                _keep(SOURCES / f"{digest}.json", _sources())
        elif digest.endswith(".dir") and _is_code(path):
            _keep(CODE / f"{digest}.json", _code_hashes(Path(path)))


def changes(path: str, digest: str) -> list[str]:
    """Phrases that say how a dependency differs from the one with this hash."""
    if Path(path) == paths.FINGERPRINT:
        return _changed_sources(_known(SOURCES / f"{digest}.json"), _sources()) or [
            f"{path} changed"
        ]
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


def _sources() -> dict[str, Any]:
    """Source → its part of the fingerprint."""
    return {one["source"]: one for one in _known(paths.FINGERPRINT).get("sources", [])}


def _known(note: Path) -> dict[str, Any]:
    try:
        found = read_json(note)
    except DataError:
        return {}
    return found if isinstance(found, dict) else {}


def _md5(file: Path) -> str:
    return (
        hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() if file.is_file() else ""
    )


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
