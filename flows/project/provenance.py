"""Provenance: commit, changes and locked packages of the code of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flows.project.git import answer

LOCK_FILE = Path("requirements.lock")


def provenance() -> dict[str, str]:
    """Return tags: commit, whether the code was changed since, hash of the locked packages."""
    commit = answer("rev-parse", "HEAD")
    if not commit:
        return {"git.commit": "none", "git.dirty": "true"}
    dirty = bool(answer("status", "--porcelain", "--untracked-files=no", "--", ":!dvc.lock"))
    locked = hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest() if LOCK_FILE.is_file() else "none"
    return {
        "git.commit": commit,
        "mlflow.source.git.commit": commit,
        "git.dirty": str(dirty).lower(),
        "requirements.sha256": locked,
    }
