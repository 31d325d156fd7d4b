"""From the names of files to splits and labels: what the readers of folders and archives share."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stages.core.labels import NamePattern, seem_named
from stages.core.layout import UNLABELLED, Layout, Place, splits_of_names
from stages.core.sections import Ingest
from stages.core.splits import choice_of, read

SHOWN = 3


@dataclass(frozen=True)
class Places:
    """Splits and labels of files, in their order, what gave the splits, and what to say about
    it.
    """

    splits: list[str | None]
    labels: list[str | None]
    given: str | None
    remarks: tuple[str, ...]
    names: frozenset[str]


def find_places(
    files: Sequence[str], ingest: Ingest, empty: frozenset[str] = frozenset()
) -> Places:
    """Read the ``/``-separated paths of image files; ``empty`` are folders that hold none."""
    folders = [name.rpartition("/")[0] for name in files]
    different = sorted(set(folders))
    layout = Layout.of(different, ingest.splits)
    places = {folder: layout.place(folder) for folder in different}
    splits = [places[folder][0] for folder in folders]
    labels = [places[folder][1] for folder in folders]
    given, looks = ("folder" if any(splits) else None), layout.looks
    if given is None:
        splits, looks_of_names = splits_of_names(files, ingest.splits)
        given, looks = ("file name" if any(splits) else None), looks or looks_of_names
    remarks = [*_unused(layout, folders), *looks_like_splits(looks)]
    if ingest.label_pattern is not None:
        splits, labels, more = _by_pattern(files, splits, ingest)
        given = "file name" if given is None and any(splits) else given
        remarks += more
    elif not any(labels) and (named := seem_named(files)):
        remarks.append(
            f"file names begin with {_listed(named)}: if these are labels, --set"
            " ingest.label_pattern='{label}*' reads them (the pattern that fits the names:"
            " docs/data.md)"
        )
    remarks += _empty(layout, empty, labels)
    parts = frozenset(part for folder in different for part in folder.split("/") if part)
    return Places(splits, labels, given, tuple(remarks), parts)


def readable(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 are written as ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def settled(splits: Sequence[str | None]) -> tuple[list[str | None], int]:
    """The splits as ingest draws them: images that are used without labels have none; and how many
    those are.
    """
    return [None if split == UNLABELLED else split for split in splits], sum(
        split == UNLABELLED for split in splits
    )


def container_names(files: Sequence[str]) -> frozenset[str]:
    """Names of archives, with and without extension, and of the folders they are in."""
    parts = {part for name in files for part in name.split("/")}
    return frozenset(parts | {name.rpartition(".")[0] for name in parts})


def _by_pattern(
    files: Sequence[str], splits: list[str | None], ingest: Ingest
) -> tuple[list[str | None], list[str | None], list[str]]:
    pattern = NamePattern(ingest.label_pattern or "")
    found: list[Place] = []
    missed: list[str] = []
    for file, split in zip(files, splits, strict=True):
        match = pattern.match(file)
        if match is None:
            missed.append(file)
            found.append((split, None))
            continue
        label, named = match
        choice = choice_of(named, ingest.splits) or read(named).split if named else None
        found.append((choice if choice in ("train", "val", "test", UNLABELLED) else split, label))
    labels = [
        None if split == UNLABELLED or label is None else readable(label) for split, label in found
    ]
    example = f", such as {readable(missed[0])}" if missed else ""
    said = [f"ingest.label_pattern fits {len(files) - len(missed):,} of {len(files):,} file names"]
    return (
        [split for split, _ in found],
        labels,
        [said[0] + f"; the others are used unlabelled{example}"] if missed else [],
    )


def _unused(layout: Layout, folders: Sequence[str]) -> list[str]:
    unused = layout.unused
    if not unused or layout.depth is None:
        return []
    depth = layout.depth
    inside = Counter(path[depth] for folder in folders if len(path := folder.split("/")) > depth)
    found = ", ".join(f"{readable(name)!r} ({inside[name]:,} images)" for name in unused[:SHOWN])
    more = ", …" if len(unused) > SHOWN else ""
    return [
        f"{found}{more} beside the splits is none of them and is used unlabelled; ingest.splits:"
        f" {{{readable(unused[0])}: train}} (val, test, unlabelled, class) says otherwise"
    ]


def looks_like_splits(names: Sequence[str]) -> list[str]:
    """What to say where a name looks like a split and is not used as one."""
    if not names:
        return []
    return [
        f"{_listed(names)} {'looks' if len(names) == 1 else 'look'} like a split and"
        f" {'is' if len(names) == 1 else 'are'} not used as one, as not all names beside are"
        f" splits; ingest.splits: {{{readable(names[0])}: {read(names[0]).split or 'test'}}} makes"
        " it one, class says it is none"
    ]


def _empty(layout: Layout, empty: frozenset[str], labels: Sequence[str | None]) -> list[str]:
    """Folders in the place of a class, or of a split, without an image."""
    known = Counter(label for label in labels if label is not None)
    if not known:
        return []
    lost = {folder for folder in empty if layout.place(folder)[1] == folder.rpartition("/")[2]}
    lost = {folder for folder in lost if not read(folder).split}
    gone = {folder for folder in empty if "/" not in folder and read(folder).plain}
    remarks = []
    if lost:
        some = ", ".join(
            f"{readable(label)} {count:,}" for label, count in sorted(known.items())[:10]
        )
        remarks.append(
            f"class folder{'s' * (len(lost) > 1)} without an image that can be read: "
            f"{_listed(sorted(lost))} (0 images); the others: {some}"
        )
    if gone:
        remarks.append(
            f"{_listed(sorted(gone))} looks like a split and holds no image that can be read"
        )
    return remarks


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(readable(name)) for name in names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
