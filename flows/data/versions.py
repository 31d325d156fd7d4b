"""Dataset versions: a git tag ``data/NAME`` on a commit whose ``dvc.lock`` holds the hashes of the
data.

Tagging commits ``dvc.lock`` and ``params.yaml`` (these two and nothing else) where they differ from
HEAD, so that the tag says by itself which bytes it means. Any git revision with such a ``dvc.lock``
can be named wherever a version can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flows.adapters.dvc import lockfile, plan, run_cache
from flows.adapters.dvc.lockfile import LockEntry
from flows.adapters.dvc.repository import fetch, repository
from flows.project import worktrees
from flows.project.git import git, read_at, whole_or_nothing
from flows.project.worktrees import WORKDIR
from flows.registry import stage_inputs
from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError, DataError
from stages.core.image.pixel_store import PixelStore
from stages.core.io import atomic_directory
from stages.core.params import load_params

COMMITTED = ("dvc.lock", "params.yaml")
PLACES = paths.CACHE / "versions"
CURATED = (paths.CURATED_MANIFEST, paths.CURATED_MANIFEST.parent)


def tag(root: Path, name: str, message: str) -> str:
    """Make the data of the workspace version ``name``; returns the tag's commit.

    Raises:
        ConfigError: the name is taken or no tag name, or the data stages are stale: their outputs
            are not what the sources are; or git refuses (a hook, signing): then branch and index
            are as before.
    """
    reference = f"{worktrees.DATA_TAGS}{name}"
    if not name or ".." in name or "," in name or name == WORKDIR:
        raise ConfigError(
            f"{name!r} cannot name a version: it would read as a list or a range in --data"
        )
    try:
        git(root, "check-ref-format", f"refs/tags/{reference}")
    except ConfigError:
        raise ConfigError(
            f"{name!r} cannot name a version: git takes no such tag (no spaces, no ~ ^ : ? * [ and"
            " no leading dot)"
        ) from None
    if name in worktrees.data_tags(root):
        raise ConfigError(
            f"dataset version {name!r} exists; versions never change, choose another name"
        )
    stage_inputs.refresh(load_params())
    names = run_cache.data_stages()
    if stale := [
        f"{stage} ({', '.join(reasons)})"
        for stage in names
        if (reasons := plan.read_reasons(stage))
    ]:
        raise ConfigError(
            f"the data is not what its sources are now: {'; '.join(stale)}: rootstock run --to"
            f" {names[-1]} first"
        )
    changed = [path for path in COMMITTED if git(root, "status", "--porcelain", "--", path)]
    with whole_or_nothing(root):
        if changed:
            message_ = f"Data version {name}: {message}"
            git(root, "add", "--", *changed)
            git(root, "commit", "-q", "--only", "-m", message_, "--", *changed)
        git(root, "tag", "-a", reference, "-m", message)
    return worktrees.resolve(root, name)


@dataclass(frozen=True)
class DataVersion:
    """A dataset version with access to its files, wherever the workspace stands."""

    root: Path
    name: str

    @cached_property
    def commit(self) -> str:
        """Its commit; empty for the workspace."""
        return "" if self.name == WORKDIR else worktrees.resolve(self.root, self.name)

    @cached_property
    def entries(self) -> dict[str, LockEntry]:
        """Its ``dvc.lock``."""
        text = (
            read_at(self.root, self.commit, "dvc.lock")
            if self.commit
            else _text(self.root / "dvc.lock")
        )
        return lockfile.parse_lock(text)

    def digest(self, path: Path) -> str | None:
        """The hash of one of its outputs; None where it has no such output."""
        return next(
            (
                entry.outputs[str(path)]
                for entry in self.entries.values()
                if str(path) in entry.outputs
            ),
            None,
        )

    def open(self, path: Path) -> Path | None:
        """A folder or file that shows an output, without copying it; None where the version has
        none.

        Raises:
            ConfigError: the bytes are neither in the cache nor at the remote.
        """
        digest = self.digest(path)
        if digest is None:
            return None
        place = self.root / PLACES / digest
        if not _complete(place):
            self._show(path, digest, place)
        return place

    @cached_property
    def curated(self) -> bool:
        """Whether its curated manifest, where it has one, is of these very images and not of those
        before them.
        """
        makers = [
            entry
            for entry in self.entries.values()
            if {str(path) for path in CURATED} & entry.outputs.keys()
        ]
        return any(
            entry.dependencies.get(str(paths.POOL)) == self.digest(paths.POOL) for entry in makers
        )

    @cached_property
    def manifest(self) -> Manifest:
        """The images of the version, with what curation kept where it has been curated."""
        pool = self.open(paths.POOL)
        if pool is None:
            raise ConfigError(
                f"dataset version {self.name} has no {paths.POOL}: run the pipeline there and tag"
                " it again"
            )
        curated = (
            next((place for path in CURATED if (place := self.open(path))), None)
            if self.curated
            else None
        )
        if curated is not None:
            return Manifest.read(
                curated if curated.is_file() else curated / paths.CURATED_MANIFEST.name
            )
        return Manifest.read(pool / paths.POOL_MANIFEST.name)

    @cached_property
    def pixels(self) -> PixelStore:
        """Its pixels, in the order of the manifest."""
        pool = self.open(paths.POOL)
        if pool is None:
            raise DataError(f"dataset version {self.name} has no pixels")
        return PixelStore.open(pool / paths.POOL_PIXELS.name)

    def _show(self, path: Path, digest: str, place: Path) -> None:
        """Links into DVC's cache that look like the output."""
        with repository() as repo:
            cache = repo.cache.local

            def object_of(oid: str) -> Path:
                return Path(cache.oid_to_path(oid))

            if not object_of(digest).exists():
                self._fetch(repo, path)
            if not object_of(
                digest
            ).exists():  # without a remote nothing is fetched, and nothing said
                raise ConfigError(
                    f"the data of version {self.name} is neither in DVC's cache nor at a remote:"
                    " whoever made it has to dvc push"
                )
            place.parent.mkdir(parents=True, exist_ok=True)
            if not digest.endswith(".dir"):
                _link(object_of(digest), place)
                return
            listed: list[dict[str, Any]] = json.loads(object_of(digest).read_text())
            if not all(object_of(item["md5"]).exists() for item in listed):
                self._fetch(repo, path)
            with atomic_directory(place) as temporary:
                for item in listed:
                    target = temporary / item["relpath"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _link(object_of(item["md5"]), target)

    def _fetch(self, repo: Any, path: Path) -> None:
        """Bring an output from the remote."""
        stage = next(name for name, entry in self.entries.items() if str(path) in entry.outputs)
        fetch(repo, stage, self.commit, self.name)


@dataclass(frozen=True)
class TrainingData(DataVersion):
    """The data that a registered model was trained on, whatever the workspace holds now:
    ``outputs`` are path → hash.
    """

    outputs: Mapping[str, str]

    @cached_property
    def curated(self) -> bool:
        """Its manifest is the one it was trained by."""
        return True

    def digest(self, path: Path) -> str | None:
        """The hash of one of the outputs behind it."""
        return self.outputs.get(str(path))

    def _fetch(self, repo: Any, path: Path) -> None:
        raise ConfigError(
            f"{path} behind {self.name} is not in DVC's cache: dvc pull --all-commits fetches"
            " everything that was ever committed"
        )


def _link(source: Path, target: Path) -> None:
    if not source.exists():
        raise ConfigError(
            f"{source.name} is neither in DVC's cache nor at its remote: ask whoever made the"
            " version to dvc push"
        )
    target.unlink(missing_ok=True)
    target.symlink_to(source.resolve())


def _complete(place: Path) -> bool:
    """Whether every link still leads somewhere: the cache may have been cleaned."""
    if place.is_symlink() or place.is_file():
        return place.exists()
    return place.is_dir() and all(file.exists() for file in place.rglob("*"))


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
