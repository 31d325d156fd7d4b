"""Git worktrees for experiment cells and backfills: the working tree as it is, checked out
elsewhere, removed without a trace.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.adapters.dvc.repository import share_cache
from flows.process.locks import lock
from flows.project.git import git
from stages.core import paths
from stages.core.errors import ConfigError, nearest

DATA_TAGS = "data/"
LOCK = paths.STATE / "worktrees.lock"
WORKDIR = "WORKDIR"
"""The name of the working tree among dataset versions."""
SHARED = (paths.RESUME,)
"""Folders that worktrees share with the project: a killed training goes on wherever its stage is
run again.
"""


def resolve(root: Path, version: str) -> str:
    """Commit id of a dataset version (tag ``data/NAME``) or of any git revision.

    Raises:
        ConfigError: there is no such version; names the nearest.
    """
    for revision in (f"refs/tags/{DATA_TAGS}{version}", version):
        try:
            return git(
                root,
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                f"{revision}^{{commit}}",
            )
        except ConfigError:
            continue
    known = data_tags(root)
    have = (
        f"there is {', '.join(known)}"
        if known
        else "there is none yet: rootstock data tag NAME makes one"
    )
    raise ConfigError(f"no dataset version {version!r}; {nearest(version, known)}{have}")


def data_tags(root: Path) -> list[str]:
    """Names of all dataset versions, oldest first."""
    listed = git(
        root, "tag", "--list", f"{DATA_TAGS}*", "--sort=version:refname", "--sort=creatordate"
    )
    return [tag.removeprefix(DATA_TAGS) for tag in listed.splitlines()]


def expand(root: Path, text: str) -> list[str]:
    """``v1,v3..v5,WORKDIR`` → the versions meant, in that order; a range takes every tagged version
    between its ends.

    Raises:
        ConfigError: a version does not exist, or a range runs backwards.
    """
    versions: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dots, last = part.partition("..")
        if not dots:
            if part != WORKDIR:
                resolve(root, part)
            versions.append(part)
            continue
        known = data_tags(root)
        for end in (first, last):
            if end not in known:
                raise ConfigError(
                    f"--data {part}: {end!r} is no tagged version; there is"
                    f" {', '.join(known) or 'none'}"
                )
        if known.index(first) > known.index(last):
            raise ConfigError(f"--data {part}: {first} is newer than {last}; turn the range round")
        versions += known[known.index(first) : known.index(last) + 1]
    if not versions:
        raise ConfigError("--data: name at least one dataset version, for example v1,v2 or WORKDIR")
    return list(dict.fromkeys(versions))


def add(root: Path, path: Path, commit: str) -> None:
    """Check ``commit`` out at ``path``, with DVC's cache and the resume checkpoints of the project.

    What a killed predecessor left at ``path`` is replaced.
    """
    with lock(root / LOCK):
        _forget(root, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        git(root, "worktree", "add", "--detach", "--force", str(path), commit)
    for shared in SHARED:
        (root / shared).mkdir(parents=True, exist_ok=True)
        (path / shared).parent.mkdir(parents=True, exist_ok=True)
        (path / shared).symlink_to(root / shared, target_is_directory=True)
    share_cache(root, path)


def remove(root: Path, path: Path) -> None:
    """Take a worktree away, whatever state it is in."""
    with lock(root / LOCK):
        _forget(root, path)


def _forget(root: Path, path: Path) -> None:
    for shared in SHARED:
        if (path / shared).is_symlink():
            (path / shared).unlink()
    shutil.rmtree(path, ignore_errors=True)
    git(root, "worktree", "prune")
