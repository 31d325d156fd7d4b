"""Folders on disk, entry by entry: what is looked at, and what is left out and counted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from stages.core.errors import DataError
from stages.core.formats import RECOGNISE, START, may_be
from stages.core.junk import HIDDEN, JUNK, LEFT_BY_CHOICE, is_junk

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class Skip:
    """What a walk leaves out, counted by kind, and the folders it came through."""

    def __init__(
        self,
        ignored: dict[str, int],
        folders: set[str],
        patterns: Sequence[str],
        counts: bool = True,
    ) -> None:
        self.ignored, self.folders, self.patterns, self.counts = (
            ignored,
            folders,
            tuple(patterns),
            counts,
        )

    def takes(self, prefix: str, entry: os.DirEntry[str]) -> bool:
        """Whether the entry is left out, with all that is below it."""
        name = entry.name
        if is_junk(name):
            kind = JUNK
        elif name.startswith("."):
            kind = HIDDEN
        elif self.patterns and matches(prefix + name, self.patterns):
            kind = LEFT_BY_CHOICE
        else:
            return False
        if self.counts:
            count = _count(entry)
            if count:
                self.ignored[kind] = self.ignored.get(kind, 0) + count
        return True


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns names a ``/``-separated path: all of it or, without a ``/`` in
    it, the last part.
    """
    last = path.rpartition("/")[2]
    return any(
        fnmatchcase(path if "/" in one.strip("/") else last, one.strip("/")) for one in patterns
    )


def _count(entry: os.DirEntry[str]) -> int:
    """Files in a folder and below, 1 for a file; links to folders are not followed."""
    try:
        if not entry.is_dir(follow_symlinks=False):
            return 1
    except OSError:
        return 1
    return sum(len(files) for _, _, files in os.walk(entry.path))


def entries_below(root: Path, skip: Skip) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every visible entry that is no folder, with the ``/``-ended path of its folder below the
    root.
    """
    pending: list[tuple[str, str, frozenset[tuple[int, int]]]] = [
        (os.fspath(root), "", frozenset({_place(root.stat())}))
    ]
    while pending:
        folder, prefix, above = pending.pop()
        entries = _entries(folder)[::-1]
        while entries:
            # what is asked of an entry stays with it: of a million files that would be half a
            # gigabyte
            entry = entries.pop()
            if skip.takes(prefix, entry):
                continue
            if not _is_folder(entry):
                yield prefix, entry
                continue
            place = _place(entry.stat())
            if place not in above:
                skip.folders.add(prefix + entry.name)
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


def is_wanted(entry: os.DirEntry[str], extensions: frozenset[str]) -> bool:
    extension = extension_of(entry.name)
    named = extension in extensions
    try:
        if named:
            return entry.is_file() or entry.is_symlink()
        return may_be(extension) and entry.is_file() and RECOGNISE[extensions](_start(entry.path))
    except OSError:
        return named  # a link onto itself: named, then quarantined


def _start(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    except OSError:
        return b""
    try:
        return os.read(descriptor, START)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def extension_of(name: str) -> str:
    """The extension in lower case, with the dot; empty where there is none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""
