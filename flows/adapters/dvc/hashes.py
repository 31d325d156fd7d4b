"""Hashes: files, directories and texts as DVC hashes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

CHUNK = 1 << 20


def hash_of(path: Path) -> str:
    """Return the hash DVC gives a file, or a directory (``….dir``)."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listing = [
            {"md5": hash_of(file), "relpath": file.relative_to(path).as_posix()} for file in files
        ]
        listing.sort(key=lambda item: item["relpath"])
        return md5(json.dumps(listing, sort_keys=True)) + ".dir"
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def md5(text: str) -> str:
    """Return the md5 of a text, 32 hex digits."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
