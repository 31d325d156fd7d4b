"""Git worktrees for experiment cells and backfills: the working tree as it is, checked out
elsewhere, removed without a trace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from flows.adapters.dvc.repository import share_cache
from stages.core import paths
from stages.core.errors import ConfigError, nearest
from stages.core.io import write_bytes

DATA_TAGS = "data/"
WORKDIR = "WORKDIR"
"""The name of the working tree among dataset versions."""
SHARED = (paths.RESUME,)
"""Folders that worktrees share with the project: a killed training goes on wherever its stage is
run again.
"""
IDENTITY = {
    "GIT_AUTHOR_NAME": "rootstock",
    "GIT_AUTHOR_EMAIL": "rootstock@localhost",
    "GIT_COMMITTER_NAME": "rootstock",
    "GIT_COMMITTER_EMAIL": "rootstock@localhost",
}


def git(root: Path, *arguments: str, **environment: str) -> str:
    """Output of a git command in ``root``, stripped.

    Raises:
        ConfigError: git's own words, when it refuses.
    """
    settings = {**os.environ, **environment}
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, env=settings, check=False
    )
    if done.returncode:
        words = " ".join(done.stderr.split()).removeprefix("fatal: ")
        raise ConfigError(
            f"git {' '.join(arguments[:2])}: {words or f'exit code {done.returncode}'}"
        )
    return done.stdout.strip()


@contextmanager
def whole_or_nothing(root: Path) -> Iterator[None]:
    """Undo commits and changes of the index made inside the block when it fails; files stay as they
    are.

    A branch that another process moved meanwhile is left alone.
    """
    before = _head(root)
    index = root / git(root, "rev-parse", "--git-path", "index")
    staged = index.read_bytes() if index.is_file() else None
    try:
        yield
    except BaseException:
        after = _head(root)
        if after != before and (not before or git(root, "rev-parse", f"{after}^") == before):
            undone = (
                ["-m", "rootstock: undone", "HEAD", before, after]
                if before
                else ["-d", "HEAD", after]
            )
            git(root, "update-ref", *undone)
        if staged is None:
            index.unlink(missing_ok=True)
        else:
            write_bytes(index, staged)
        raise


def _head(root: Path) -> str:
    """The commit of HEAD; empty before the first."""
    try:
        return git(root, "rev-parse", "--verify", "-q", "HEAD")
    except ConfigError:
        return ""


def snapshot(root: Path, name: str) -> str:
    """Commit id of the working tree as it is: HEAD when nothing changed, else a commit beside the
    branch, kept by a ref.

    Neither the branch, nor the index, nor a file is touched; files that git ignores are left out.
    """
    head = git(root, "rev-parse", "HEAD^{commit}")
    with tempfile.TemporaryDirectory() as folder:
        index = str(Path(folder) / "index")
        git(root, "read-tree", head, GIT_INDEX_FILE=index)
        git(root, "add", "-A", ".", GIT_INDEX_FILE=index)
        tree = git(root, "write-tree", GIT_INDEX_FILE=index)
    if tree == git(root, "rev-parse", f"{head}^{{tree}}"):
        return head
    commit = git(root, "commit-tree", tree, "-p", head, "-m", f"Working tree of {name}", **IDENTITY)
    git(root, "update-ref", f"refs/rootstock/{name}", commit)
    return commit


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


def read_at(root: Path, commit: str, path: str) -> str:
    """Text of a file at a commit; empty where it is not there."""
    done = subprocess.run(
        ["git", "show", f"{commit}:{path}"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else ""


def add(root: Path, path: Path, commit: str) -> None:
    """Check ``commit`` out at ``path``, with DVC's cache and the resume checkpoints of the project.

    What a killed predecessor left at ``path`` is replaced.
    """
    with _lock(root):
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
    with _lock(root):
        _forget(root, path)


def _forget(root: Path, path: Path) -> None:
    for shared in SHARED:
        if (path / shared).is_symlink():
            (path / shared).unlink()
    shutil.rmtree(path, ignore_errors=True)
    git(root, "worktree", "prune")


def _lock(root: Path) -> FileLock:
    folder = root / paths.STATE
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "worktrees.lock")
