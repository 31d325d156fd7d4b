"""Git: commands in the project's repository, and snapshots of its working tree."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from stages.core.errors import ConfigError

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
