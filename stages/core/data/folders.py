"""Folders of images: a fast sorted walk, and a content hash of the whole tree that reads only files
that may have changed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from stages.core import paths
from stages.core.formats import EXTENSIONS
from stages.core.io import atomic_file
from stages.core.junk import APART
from stages.core.progress import Progress
from stages.core.scan import Skip, entries_below, extension_of, is_wanted

SETTLED = 2 * 10**9
"""Nanoseconds a file must have been left alone before its cached hash is trusted (the coarsest time
stamp of a file system).
"""
_BATCH = 256
_BUFFER = 1 << 18
_READERS = 8
_PATIENCE = 4
"""One thread reads until it has spent this many times longer than it computed: then the disk is
what is waited for.
"""
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


@dataclass(frozen=True)
class Listing:
    """The images below a root: relative ``/``-separated paths in ascending order, and what else
    lies there.
    """

    root: Path
    files: list[str]
    stats: npt.NDArray[
        np.int64
    ]  # (N, 4): size, mtime_ns, ctime_ns, inode; -1 where the file cannot be reached
    ignored: dict[str, int] = field(
        default_factory=dict
    )  # kind, mostly the extension → files that are no images
    folders: frozenset[str] = (
        frozenset()
    )  # below the root, those with no file of the kind in them or below

    @property
    def key(self) -> str:
        """What is remembered of it is named after this: where it lies, one file of a folder apart
        from the others.
        """
        place = self.root / self.files[0] if len(self.files) == 1 else self.root
        return hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:16]

    def digest(self, hashes: npt.NDArray[np.uint8]) -> str:
        """One hash of all names and contents; ``hashes`` is ``(N, 32)``."""
        whole, contents = hashlib.sha256(), hashes.tobytes()
        for row, name in enumerate(raw_names(self.files)):
            whole.update(name + b"\0" + contents[32 * row : 32 * row + 32])
        whole.update(
            repr(
                sorted((kind, files) for kind, files in self.ignored.items() if kind not in APART)
            ).encode()
        )
        return whole.hexdigest()


def walk(
    root: Path, extensions: frozenset[str] = EXTENSIONS, ignore: Sequence[str] = ()
) -> Listing:
    """List every image (or file of other ``extensions``) below ``root``, and count all else by
    kind.

    A file with another name is one where its first bytes say so. Links are followed, but never back
    into a folder being listed; hidden files, what systems leave and what the patterns ``ignore``
    name is counted, not listed.
    """
    names: list[str] = []
    stats = array("q")
    ignored: dict[str, int] = {}
    folders: set[str] = set()
    for prefix, entry in entries_below(root, Skip(ignored, folders, ignore)):
        if is_wanted(entry, extensions):
            names.append(prefix + entry.name)
            stats.extend(_status(entry))
        else:
            kind = extension_of(entry.name) or "(none)"
            ignored[kind] = ignored.get(kind, 0) + 1
    order = sorted(range(len(names)), key=names.__getitem__)
    return Listing(
        root,
        [names[row] for row in order],
        np.frombuffer(stats, np.int64).reshape(-1, 4)[order],
        dict(sorted(ignored.items())),
        frozenset(folders - above(names)),
    )


def one_file(path: Path) -> Listing:
    """A file as the listing of its folder would name it, whatever it is called; nothing beside it
    is looked at.
    """
    return Listing(path.parent, [path.name], np.array([_numbers(path.stat())], np.int64))


def has_images(root: Path, count: int = 1, ignore: Sequence[str] = ()) -> bool:
    """Whether :func:`walk` would find so many, stopping at the last of them."""
    found = (
        entry
        for _, entry in entries_below(root, Skip({}, set(), ignore, counts=False))
        if is_wanted(entry, EXTENSIONS)
    )
    return sum(1 for _ in islice(found, count)) == count


def content_hashes(listing: Listing, cache: Path = paths.CACHE) -> npt.NDArray[np.uint8]:
    """sha256 of every file's content as ``(N, 32)``; zeros for a file that cannot be read.

    Hashes are remembered by path, size, times and inode, so that only new and changed files are
    read again.
    """
    hashes, known = _remembered(_cache_file(listing, cache), listing)
    todo = np.flatnonzero(~known)
    if not len(todo):
        return hashes
    began = time.time_ns()
    batches = [todo[first : first + _BATCH] for first in range(0, len(todo), _BATCH)]
    with Progress(f"reading {listing.root}", len(todo), "files") as bar:
        for rows, found in zip(batches, _in_turn(listing, batches), strict=True):
            hashes[rows] = found
            bar.advance(len(rows))
    _remember(_cache_file(listing, cache), listing, hashes, began)
    return hashes


def never_hashed(listing: Listing, cache: Path = paths.CACHE) -> bool:
    """Whether no content of this folder is remembered, so that :func:`content_hashes` would read
    all of it.
    """
    return not _cache_file(listing, cache).is_file()


def learn_hashes(
    listing: Listing, hashes: npt.NDArray[np.uint8], began: int, cache: Path = paths.CACHE
) -> None:
    """Remember the sha256 ``(N, 32)`` of contents that were read for another purpose, from
    ``began`` (``time.time_ns``) on.

    Rows of zeros are files that purpose could do nothing with: they are read now, and filled in.
    """
    rows = np.flatnonzero(~hashes.any(axis=1))
    hashes[rows] = _hash_files(listing, rows)
    _remember(_cache_file(listing, cache), listing, hashes, began)


def raw_names(names: Iterable[str]) -> Iterator[bytes]:
    """``os.fsencode`` of many names."""
    return (name.encode(_ENCODING, _ERRORS) for name in names)


def _cache_file(listing: Listing, cache: Path) -> Path:
    return cache / f"hashes-{listing.key}.npz"


def _remember(file: Path, listing: Listing, hashes: npt.NDArray[np.uint8], began: int) -> None:
    stats = listing.stats.copy()
    stats[
        stats[:, 1:3].max(axis=1) > began - SETTLED, 1
    ] = -1  # too fresh: a later write could leave the same time stamp
    names = b"\0".join(raw_names(listing.files))
    with atomic_file(file) as temporary, temporary.open("wb") as out:
        np.savez(out, names=np.frombuffer(names, np.uint8), stats=stats, hashes=hashes)


def _remembered(
    file: Path, listing: Listing
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    hashes = np.zeros((len(listing.files), 32), np.uint8)
    known = np.zeros(len(listing.files), bool)
    try:
        with np.load(file, allow_pickle=False) as saved:
            names, stats, before = saved["names"].tobytes(), saved["stats"], saved["hashes"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return hashes, known  # no cache yet, or one that a crash left unusable: hash again
    if not names.count(b"\0") + 1 == len(stats) == len(before):
        return hashes, known
    if len(stats) == len(listing.files) and names == b"\0".join(raw_names(listing.files)):
        then = np.arange(len(stats))
    else:
        place = {name: row for row, name in enumerate(names.split(b"\0"))}
        then = np.array([place.get(name, -1) for name in raw_names(listing.files)], np.int64)
    seen = np.flatnonzero(then >= 0)
    same = (stats[then[seen]] == listing.stats[seen]).all(axis=1)
    rows = seen[same]
    hashes[rows], known[rows] = before[then[rows]], True
    return hashes, known


def _in_turn(
    listing: Listing, batches: list[npt.NDArray[np.int64]]
) -> Iterator[npt.NDArray[np.uint8]]:
    """The hashes of every batch. Files that are in memory already are read fastest by one thread,
    others by several.
    """
    waited = 0.0
    for number, rows in enumerate(batches):
        began, worked = time.perf_counter(), time.thread_time()
        yield _hash_files(listing, rows)
        waited += time.perf_counter() - began - _PATIENCE * (time.thread_time() - worked)
        if waited > 0 and number + 1 < len(batches):
            with ThreadPoolExecutor(_READERS) as readers:
                yield from readers.map(
                    lambda rows: _hash_files(listing, rows), batches[number + 1 :]
                )
            return


def _hash_files(listing: Listing, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    root, digests = os.fspath(listing.root), []
    for row in rows.tolist():
        try:
            digests.append(_hash_file(f"{root}/{listing.files[row]}"))
        except OSError:
            digests.append(
                bytes(32)
            )  # vanished or forbidden: the zeros say so, ingest names the reason
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)


def _hash_file(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return bytes(32)  # a pipe or a device may never end
        whole = hashlib.sha256()
        while chunk := os.read(descriptor, _BUFFER):
            whole.update(chunk)
        return whole.digest()
    finally:
        os.close(descriptor)


def above(names: Iterable[str]) -> set[str]:
    """Every folder that a file is in, at whatever depth."""
    found: set[str] = set()
    for folder in {name.rpartition("/")[0] for name in names}:
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _status(entry: os.DirEntry[str]) -> tuple[int, int, int, int]:
    try:
        status = entry.stat()
    except OSError:
        return (-1, -1, -1, -1)
    return _numbers(status)


def _numbers(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
