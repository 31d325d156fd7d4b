"""``make clean``: what DVC and the project made goes, all else stays and is listed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from stages.core import paths

OWN = (Path(".rootstock"), Path(".prefect"), Path("dvc.lock"), Path(".dvc/tmp"), paths.DATA_DOCS)
"""What the project writes beside its outputs."""
CACHE = Path(".dvc/cache")
STORE = Path("mlruns")
STORED = ("mlflow.db", ".mlflow.db", "models", "artifacts", ".trash")
"""Names in the MLflow store besides the numbers of experiments."""
SHOWN = 20


def clean(root: Path = Path()) -> list[str]:
    """Delete what runs made below ``root``; returns a line for everything that is kept."""
    outputs = list(_outputs(root))
    for output, digest in outputs:
        _remove_output(root, output, digest)
    for own in OWN:
        _remove(root / own)
    places = sorted(
        {output.parts[0] for output, _ in outputs if len(output.parts) > 1}
        | {paths.REPORTS.parts[0]}
    )
    for place in places:
        _remove_empty(root / place)
    kept = [line for place in places for line in _kept(root / place, root)]
    kept += _clean_store(root)
    return kept + _clean_cache(root, [root / place for place in places])


def _outputs(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Every output of dvc.yaml and of dvc.lock, with its hash where dvc.lock has one."""
    found: dict[str, str | None] = {}
    for stage in _read(root / "dvc.yaml").get("stages", {}).values():
        for kind in ("outs", "metrics", "plots"):
            for item in stage.get(kind, []):
                found[item if isinstance(item, str) else next(iter(item))] = None
    for stage in _read(root / "dvc.lock").get("stages", {}).values():
        found |= {item["path"]: item.get("md5") for item in stage.get("outs", [])}
    yield from (
        (Path(path), digest)
        for path, digest in sorted(found.items())
        if not Path(path).is_absolute()
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(path.read_text()) or {})
    except (OSError, yaml.YAMLError):
        return {}


def _remove_output(root: Path, output: Path, digest: str | None) -> None:
    """An output goes, as DVC would remove it before a run; of one whose files DVC's cache lists
    only those.
    """
    place = root / output
    listed = _listing(root, digest)
    if listed is None or place.is_symlink() or not place.is_dir():
        _remove(place)
    else:
        for item in listed:
            _remove(place / item["relpath"])
        _remove_empty(place)
    for unfinished in place.parent.glob(f".{output.name}.*"):
        _remove(unfinished)  # what a killed writer left


def _listing(root: Path, digest: str | None) -> list[dict[str, str]] | None:
    if digest is None or not digest.endswith(".dir"):
        return None
    try:
        found: list[dict[str, str]] = json.loads(
            (root / CACHE / "files" / "md5" / digest[:2] / digest[2:]).read_text()
        )
    except (OSError, ValueError):
        return None
    return found


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _remove_empty(place: Path) -> None:
    """Remove a folder, and those in it, as far as they are empty."""
    if place.is_symlink() or not place.is_dir():
        return
    for folder, _, _ in os.walk(place, topdown=False):
        if not any(Path(folder).iterdir()):
            Path(folder).rmdir()


def _kept(place: Path, root: Path) -> Iterator[str]:
    """A line for every entry of a folder of outputs that nobody but its owner made."""
    if place.is_symlink() or not place.is_dir():
        return
    for entry in sorted(place.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            files = sum(len(names) for _, _, names in os.walk(entry))
            yield f"{entry.relative_to(root)} ({files:,} file{'s' * (files != 1)})"
        else:
            yield str(entry.relative_to(root))


def _clean_store(root: Path) -> list[str]:
    """The MLflow store: its database, and the artifacts of its experiments and models."""
    store = root / STORE
    if not store.is_dir():
        return []
    for entry in sorted(store.iterdir()):
        if entry.name.isdecimal() or entry.name.startswith(STORED):
            _remove(entry)
    return [line for line in _kept(store, root) if not line.endswith(".gitkeep")]


def _clean_cache(root: Path, places: list[Path]) -> list[str]:
    """DVC's cache, but for what ``dvc add`` put there and what a link that is kept leads to."""
    cache = root / CACHE
    if not cache.is_dir():
        return []
    wanted = set(_added(root)) | {target for place in places for target in _links(place, cache)}
    kept = 0
    for folder, _, names in os.walk(cache):
        for name in names:
            file = Path(folder) / name
            if file.resolve() in wanted:
                kept += 1
            else:
                file.unlink()
    _remove_empty(cache)
    return [f"{CACHE} ({kept:,} objects of data that dvc add put there)"] if kept else []


def _added(root: Path) -> Iterator[Path]:
    """Objects of DVC's cache that a ``.dvc`` file names."""
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name not in {".dvc", ".git", ".venv"}]
        for name in names:
            if not name.endswith(".dvc"):
                continue
            for item in _read(Path(folder) / name).get("outs", []):
                digest = str(item.get("md5", ""))
                yield _object(root, digest)
                yield from (_object(root, member["md5"]) for member in _listing(root, digest) or [])


def _object(root: Path, digest: str) -> Path:
    return (root / CACHE / "files" / "md5" / digest[:2] / digest[2:]).resolve()


def _links(place: Path, cache: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(place):
        for name in names:
            file = Path(folder) / name
            if file.is_symlink() and file.resolve().is_relative_to(cache.resolve()):
                yield file.resolve()


def main() -> None:
    """Clean the working directory and say what is kept."""
    kept = clean()
    if kept:
        print("kept, as no run made it:")
        for line in kept[:SHOWN]:
            print(f"  {line}")
        if len(kept) > SHOWN:
            print(f"  and {len(kept) - SHOWN} more")


if __name__ == "__main__":
    main()
