"""Where the bytes of a hash lie in DVC's cache, which may be shared between checkouts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def folder(root: Path = Path()) -> Path:
    """The cache of a checkout: its own, or the one that ``cache.dir`` of DVC's configuration
    names.
    """
    from dvc.config import Config

    return Path(Config(str(root / ".dvc"))["cache"].get("dir") or root / ".dvc" / "cache")


def cached(digest: str, cache: Path | None = None) -> Path:
    """The object of a hash, whether or not it is there; of a directory its listing."""
    return (cache or folder()) / "files" / "md5" / digest[:2] / digest[2:]


def complete(digest: str) -> bool:
    """Whether the cache has all the bytes of a hash."""
    cache = folder()
    whole = cached(digest, cache)
    if not whole.is_file() or not digest.endswith(".dir"):
        return whole.is_file()
    return all(cached(item["md5"], cache).is_file() for item in json.loads(whole.read_bytes()))


def cached_file(outputs: Mapping[str, str], name: str) -> Path | None:
    """A file inside one of the output directories (path → hash), as the cache has it; None where it
    has not.
    """
    for path, digest in outputs.items():
        if (
            digest.endswith(".dir")
            and name.startswith(f"{path}/")
            and (listing := cached(digest)).is_file()
        ):
            for item in json.loads(listing.read_bytes()):
                if f"{path}/{item['relpath']}" == name and (found := cached(item["md5"])).is_file():
                    return found
    return None
