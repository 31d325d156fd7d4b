"""Repository: DVC's own object of this project, locked and freed of what killed processes left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.adapters.dvc import cache
from flows.adapters.dvc.lockfile import ONE_AT_A_TIME
from flows.adapters.dvc.patches import drop_emptied, write_whole
from flows.process import identity
from stages.core.errors import ConfigError
from stages.core.io import write_text


@contextmanager
def repository() -> Iterator[Any]:
    """A freshly read repository, locked."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo, lock_repo

    write_whole()
    with ONE_AT_A_TIME:
        try:
            with Repo(".", _wait_for_lock=True) as repo, lock_repo(repo):
                drop_emptied()
                yield repo
        except NotDvcRepoError:
            raise ConfigError(f"{Path.cwd()} has no .dvc directory: run dvc init there") from None
        except DvcException as error:
            raise ConfigError(one_line(error) + _advice(str(error))) from None


def _advice(said: str) -> str:
    """What to do about a lock file that DVC cannot read: after a merge, or where another program
    was killed while it wrote.
    """
    if "dvc.lock" not in said:
        return ""
    return (
        ": git checkout dvc.lock brings the committed one back; or rm dvc.lock, then DVC's cache"
        " brings the outputs back"
    )


def repair_locks(repo: Any) -> None:
    """Take processes that ended without a word out of DVC's record of who reads and writes what.

    DVC itself takes them out one by one with a warning each, and gives up on a record that a killed
    writer left half-written.
    """
    from dvc.lock import make_lock

    record = Path(repo.tmp_dir) / "rwlock"
    if not record.is_file():
        return
    hardlink = repo.config["core"].get("hardlink_lock", False)
    with make_lock(f"{record}.lock", tmp_dir=repo.tmp_dir, hardlink_lock=hardlink, wait=True):
        entries = read_holders(record)
        alive = {
            "write": {
                path: holder for path, holder in entries.get("write", {}).items() if _lives(holder)
            },
            "read": {
                path: held
                for path, holders in entries.get("read", {}).items()
                if (held := list(filter(_lives, holders)))
            },
        }
        if alive != entries:
            write_text(record, json.dumps(alive))


def read_holders(record: Path) -> dict[str, Any]:
    """DVC's record of who holds what; empty where a killed writer damaged it."""
    try:
        entries: dict[str, Any] = json.loads(record.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return entries


def _lives(holder: Mapping[str, Any]) -> bool:
    return identity.alive(int(holder["pid"]))


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def fetch(repo: Any, stage: str, commit: str, version: str) -> None:
    """Bring the outputs of a stage from the remote, as they were at a commit (empty: as they are).

    Raises:
        ConfigError: no remote has them.
    """
    from dvc.exceptions import DvcException

    try:
        repo.fetch(targets=[stage], revs=[commit] if commit else None, workspace=not commit)
    except DvcException as error:
        raise ConfigError(
            f"the data of version {version} is neither in DVC's cache nor at its remote:"
            f" {one_line(error)}"
        ) from None


def share_cache(root: Path, worktree: Path) -> None:
    """Let a worktree use the cache and the remotes of the project; outputs are linked where the
    file system can.
    """
    from dvc.config import Config

    source, target = root / ".dvc" / "config.local", worktree / ".dvc" / "config.local"
    target.parent.mkdir(exist_ok=True)
    if source.is_file():
        shutil.copy(source, target)
    folder = cache.folder(root)
    with Config(str(target.parent)).edit("local") as settings:
        settings["cache"] = {
            **settings.get("cache", {}),
            "dir": str(folder),
            "type": ["reflink", "hardlink", "symlink", "copy"],
        }
    target.chmod(0o600)  # it may hold the keys of a remote
