"""Git: commands in the project's repository, and snapshots of its working tree."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.core.errors import ConfigError
from stages.core.io import write_bytes

IDENTITY = {
    "GIT_AUTHOR_NAME": "rootstock",
    "GIT_AUTHOR_EMAIL": "rootstock@localhost",
    "GIT_COMMITTER_NAME": "rootstock",
    "GIT_COMMITTER_EMAIL": "rootstock@localhost",
}


def git(root: Path, *arguments: str, **environment: str) -> str:
    """Return what a git command in ``root`` prints, stripped.

    Raises:
        ConfigError: git is missing or refuses; the message has its own words.
    """
    settings = {**os.environ, **environment}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, env=settings, check=False
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed: lineage needs it") from None
    if done.returncode:
        words = " ".join(done.stderr.split()).removeprefix("fatal: ")
        raise ConfigError(
            f"git {' '.join(arguments[:2])}: {words or f'exit code {done.returncode}'}"
        )
    return done.stdout.strip()


def answer(*arguments: str) -> str:
    """Return what a git command in the project prints; empty where git refuses."""
    try:
        return git(Path(), *arguments)
    except ConfigError:
        return ""


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


def read_at(root: Path, commit: str, path: str) -> str:
    """Return the text of a file at a commit; empty where it is not there."""
    done = subprocess.run(
        ["git", "show", f"{commit}:{path}"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else ""


def why_no_commit(root: Path | None = None) -> str:
    """Why a run here could not name its commit, in git's own words and with what to do; empty where
    it can.
    """
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    said = (words or [f"git ended with {done.returncode}"])[0].removeprefix("fatal: ")
    if "ambiguous argument 'HEAD'" in said:
        return "there is no commit yet: git add -A && git commit"
    advice = next((line for line in words if line.startswith("git config")), "")
    return f"git: {said}{f': {advice}' if advice else ''}"
