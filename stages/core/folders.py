"""Folders of images: a fast sorted walk, and a content hash of the whole tree that reads only files that may have changed."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from stages.core import paths
from stages.core.errors import DataError
from stages.core.images import EXTENSIONS
from stages.core.io import atomic_file
from stages.core.progress import Progress

SETTLED = 2 * 10**9
"""Nanoseconds a file must have been left alone before its cached hash is trusted (the coarsest time stamp of a file system)."""
_BATCH = 64
_BUFFER = 1 << 20
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True)
class Listing:
    """The images below a root: relative ``/``-separated paths in ascending order, and what else lies there."""

    root: Path
    files: list[str]
    stats: npt.NDArray[np.int64]  # (N, 4): size, mtime_ns, ctime_ns, inode; -1 where the file cannot be reached
    ignored: dict[str, int] = field(default_factory=dict)  # extension → files that are no images

    def digest(self, hashes: npt.NDArray[np.uint8]) -> str:
        """One hash of all names and contents; ``hashes`` is ``(N, 32)``."""
        whole = hashlib.sha256()
        for name, content in zip(self.files, hashes, strict=True):
            whole.update(os.fsencode(name) + b"\0" + content.tobytes())
        whole.update(repr(sorted(self.ignored.items())).encode())
        return whole.hexdigest()


def walk(root: Path, extensions: frozenset[str] = EXTENSIONS) -> Listing:
    """List every image (or file of other ``extensions``) below ``root``.

    Links are followed, but never back into a folder being listed; hidden files are skipped.
    """
    found: list[tuple[str, tuple[int, int, int, int]]] = []
    ignored: dict[str, int] = {}
    for prefix, entry in _files(root):
        if _is_image(entry, extensions):
            found.append((prefix + entry.name, _status(entry)))
        else:
            extension = _extension(entry.name) or "(none)"
            ignored[extension] = ignored.get(extension, 0) + 1
    found.sort()
    stats = np.array([status for _, status in found], np.int64).reshape(-1, 4)
    return Listing(root, [name for name, _ in found], stats, dict(sorted(ignored.items())))


def has_image(root: Path) -> bool:
    """Whether :func:`walk` would find anything, stopping at the first image."""
    return any(_is_image(entry) for _, entry in _files(root))


def content_hashes(listing: Listing, cache: Path = paths.CACHE) -> npt.NDArray[np.uint8]:
    """sha256 of every file's content as ``(N, 32)``; zeros for a file that cannot be read.

    Hashes are remembered by path, size, times and inode, so that only new and changed files are read again.
    """
    file = cache / f"hashes-{hashlib.sha256(os.fsencode(listing.root.resolve())).hexdigest()[:16]}.npz"
    hashes, known = _remembered(file, listing)
    todo = np.flatnonzero(~known)
    if not len(todo):
        return hashes
    began = time.time_ns()
    batches = [todo[first : first + _BATCH] for first in range(0, len(todo), _BATCH)]
    with (
        Progress(f"reading {listing.root}", len(todo), "files") as bar,
        ThreadPoolExecutor(min(8, len(batches))) as readers,
    ):
        for rows, found in zip(batches, readers.map(lambda rows: _hash_files(listing, rows), batches), strict=True):
            hashes[rows] = found
            bar.advance(len(rows))
    stats = listing.stats.copy()
    stats[stats[:, 1:3].max(axis=1) > began - SETTLED, 1] = -1  # too fresh: a later write could leave the same time stamp
    names = b"\0".join(os.fsencode(name) for name in listing.files)
    with atomic_file(file) as temporary, temporary.open("wb") as out:
        np.savez(out, names=np.frombuffer(names, np.uint8), stats=stats, hashes=hashes)
    return hashes


def _remembered(file: Path, listing: Listing) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    hashes = np.zeros((len(listing.files), 32), np.uint8)
    known = np.zeros(len(listing.files), bool)
    try:
        with np.load(file, allow_pickle=False) as saved:
            names, stats, before = saved["names"].tobytes().split(b"\0"), saved["stats"], saved["hashes"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return hashes, known  # no cache yet, or one that a crash left unusable: hash again
    if not len(names) == len(stats) == len(before):
        return hashes, known
    place = {name: row for row, name in enumerate(names)}
    then = np.array([place.get(os.fsencode(name), -1) for name in listing.files], np.int64)
    seen = np.flatnonzero(then >= 0)
    same = (stats[then[seen]] == listing.stats[seen]).all(axis=1)
    rows = seen[same]
    hashes[rows], known[rows] = before[then[rows]], True
    return hashes, known


def _hash_files(listing: Listing, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    out = np.zeros((len(rows), 32), np.uint8)
    for place, row in enumerate(rows):
        whole = hashlib.sha256()
        try:
            descriptor = os.open(listing.root / listing.files[row], os.O_RDONLY | _AT_ONCE)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    continue  # a pipe or a device may never end
                while chunk := file.read(_BUFFER):
                    whole.update(chunk)
        except OSError:
            continue  # vanished or forbidden: the zeros say so, ingest names the reason
        out[place] = np.frombuffer(whole.digest(), np.uint8)
    return out


def _files(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every visible entry that is no folder, with the ``/``-ended path of its folder below the root."""
    pending: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(os.fspath(root), "", frozenset({_place(root.stat())}))]
    while pending:
        folder, prefix, above = pending.pop()
        for entry in _entries(folder):
            if entry.name.startswith("."):
                continue
            if not _is_folder(entry):
                yield prefix, entry
                continue
            place = _place(entry.stat())
            if place not in above:
                pending.append((entry.path, f"{prefix}{entry.name}/", above | {place}))


def _place(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []  # vanished during the walk
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_image(entry: os.DirEntry[str], extensions: frozenset[str] = EXTENSIONS) -> bool:
    if _extension(entry.name) not in extensions:
        return False
    try:
        return entry.is_file() or entry.is_symlink()
    except OSError:
        return True  # a link onto itself: named, then quarantined


def _extension(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _status(entry: os.DirEntry[str]) -> tuple[int, int, int, int]:
    try:
        status = entry.stat()
    except OSError:
        return (-1, -1, -1, -1)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
