"""Layouts: which split and which label the place of a file gives, whatever the levels of folders
are called.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stages.core.splits import (
    SPLITS,
    Level,
    choice_of,
    is_filling,
    is_unlabelled,
    read,
    read_level,
    words,
)

DEEPEST = 4
"""Levels of folders that are looked at for splits."""
UNLABELLED = "unlabelled"
ORDER = ("train", "val", "test", UNLABELLED)
_MAYBE = re.compile("|".join(sorted(SPLITS)), re.I)
_MOST_NAMES = 0.9
"""Fraction of file names that must give a split before any is believed."""

Place = tuple[str | None, str | None]
"""Split (``unlabelled`` for images that are used without a label) and label; ``None`` where a place
does not say.
"""


@dataclass(frozen=True)
class Layout:
    """The levels of folders below a root, read once for all of them.

    Attributes:
        depth: the level that gives the split, from 0; ``None`` without one.
        level: what its names mean.
        before: whether the class is the folder above the split: ``cat/train``.
        looks: names that look like a split and are not used as one.
    """

    choices: Mapping[str, str]
    depth: int | None = None
    level: Level | None = None
    before: bool = False
    wrapped: Mapping[str, int] = field(
        default_factory=dict
    )  # folder of a split → levels in it that say nothing
    looks: tuple[str, ...] = ()

    @classmethod
    def of(cls, folders: Iterable[str], choices: Mapping[str, str]) -> Layout:
        """Read the ``/``-separated paths of all folders that hold images."""
        paths = [tuple(folder.split("/")) for folder in sorted(set(folders)) if folder]
        looks: tuple[str, ...] = ()
        for depth in range(min(DEEPEST, max(map(len, paths), default=0))):
            level = _level(paths, depth, choices)
            if level is not None and level.given:
                return cls._with(paths, depth, level, choices)
            if level is not None and not looks and len({path[:depth] for path in paths}) == 1:
                looks = level.looks
        return cls(choices, looks=looks)

    @classmethod
    def _with(
        cls, paths: list[tuple[str, ...]], depth: int, level: Level, choices: Mapping[str, str]
    ) -> Layout:
        wrapped = {}
        inside: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for path in paths:
            if len(path) > depth and path[depth] in level.given:
                inside.setdefault(path[: depth + 1], []).append(path[depth + 1 :])
        for prefix, below in inside.items():
            wrapped["/".join(prefix)] = _wrappers(prefix[-1], below)
        deeper = [
            len(path) - len(prefix) > wrapped["/".join(prefix)]
            for path in paths
            if (prefix := path[: depth + 1]) in inside and level.given[prefix[-1]] != UNLABELLED
        ]
        above = {path[:depth] for path in paths if len(path) > depth}
        return cls(choices, depth, level, len(above) > 1 and not all(deeper), wrapped, level.looks)

    def place(self, folder: str) -> Place:
        """The split and the label of the files of a folder."""
        path = folder.split("/") if folder else []
        split, label = self._split_and_label(path)
        for name in path:
            choice = choice_of(name, self.choices)
            if choice == UNLABELLED:
                return UNLABELLED, None
            if choice in SPLITS.values():
                split = choice
        return split, label

    def _split_and_label(self, path: list[str]) -> Place:
        if self.depth is None or self.level is None or len(path) <= self.depth:
            return None, _class(path)
        name = path[self.depth]
        split = self.level.given.get(name)
        if split is None:
            train_and_test = "train" in self.level.splits and len(self.level.splits) > 1
            apart = train_and_test and name not in self.level.classes
            return (UNLABELLED, None) if apart else (None, _class(path[self.depth :]))
        if split == UNLABELLED:
            return UNLABELLED, None
        if self.before:
            return split, _class([path[self.depth - 1]])
        inside = path[self.depth + 1 :]
        return split, _class(inside[self.wrapped.get("/".join(path[: self.depth + 1]), 0) :])

    @property
    def unused(self) -> tuple[str, ...]:
        """Names beside splits that are none: their images are used without labels."""
        if self.level is None or "train" not in self.level.splits or len(self.level.splits) < 2:
            return ()
        return self.level.rest


def splits_of_names(
    files: Sequence[str], choices: Mapping[str, str]
) -> tuple[list[str | None], tuple[str, ...]]:
    """The splits that file names begin or end with (``train_001.png``), and examples that look so
    and are not believed.

    They are believed where nearly all names have one, and both train and another split are among
    them.
    """
    found: list[str | None] = []
    examples: dict[str, str] = {}
    for file in files:
        name = file.rpartition("/")[2]
        split = _of_name(name.rpartition(".")[0] or name) if _MAYBE.search(name) else None
        found.append(split)
        if split:
            examples.setdefault(split, name)
    counts = Counter(split for split in found if split)
    if len(counts) > 1 and "train" in counts and counts.total() >= _MOST_NAMES * len(found):
        return found, ()
    many = len(counts) > 1 and counts.total() >= 0.1 * len(found)
    return [None] * len(found), tuple(examples.values()) if many else ()


def splits_of_containers(
    names: Sequence[str], choices: Mapping[str, str]
) -> tuple[list[str | None], str | None, tuple[str, ...]]:
    """The splits that the names and folders of archives give, the innermost first; which of both;
    what only looks so.

    ``default/train/0000.parquet`` and ``birds-train-00000-of-00002.tar`` both give train.
    """
    paths = [
        (*parts[:-1], parts[-1].rpartition(".")[0] or parts[-1])
        for parts in (name.split("/") for name in names)
    ]
    levels: list[dict[str, str]] = []
    looks: set[str] = set()
    deepest = max(map(len, paths), default=0)
    for back in range(1, deepest + 1):
        here = {path[-back] for path in paths if len(path) >= back}
        given = {
            name: split
            for name in here
            if (split := choice_of(name, choices) or choice_of(_whole(name, names), choices))
        }
        readings = {name: read(name) for name in here if name not in given}
        given |= {
            name: reading.split
            for name, reading in readings.items()
            if reading.plain and reading.split
        }
        level = read_level(here, choices)
        given |= {} if level is None else level.given
        looks |= {name for name, reading in readings.items() if reading.split and name not in given}
        levels.append(given)
    by = [
        next((back for back, name in enumerate(path[::-1]) if name in levels[back]), None)
        for path in paths
    ]
    found = [
        None if back is None else levels[back][path[-1 - back]]
        for path, back in zip(paths, by, strict=True)
    ]
    splits = [None if split == "class" else split for split in found]
    how = None if not any(splits) else "file name" if 0 in by else "folder"
    return splits, how, tuple(sorted(looks))


def described(how: str, splits: Iterable[str | None]) -> str:
    """The line that says which splits are given: ``split given by folder: train 60, val 18, test
    30``.
    """
    counts = Counter(splits)
    parts = [f"{split} {counts[split]:,}" for split in ORDER if counts[split]]
    open_ = f"; {counts[None]:,} others are drawn" if counts[None] else ""
    return f"split given by {how}: {', '.join(parts)}{open_}"


def _level(paths: list[tuple[str, ...]], depth: int, choices: Mapping[str, str]) -> Level | None:
    here = [path for path in paths if len(path) > depth]
    below: dict[str, set[str]] = {}
    for path in here:
        below.setdefault(path[depth], set()).update(path[depth + 1 :])
    above: dict[str, set[tuple[str, ...]]] = {}
    for path in here:
        above.setdefault(path[depth], set()).add(path[:depth])
    repeated = all(len(prefixes) > 1 for prefixes in above.values())
    level = read_level(below, choices, below, repeated)
    if level is None or not level.given or depth == 0 or len({path[:depth] for path in here}) == 1:
        return level
    forced = any(choice_of(name, choices) not in (None, "class") for name in below)
    complete = len(here) == len(paths) and not level.rest
    return level if complete or forced else Level({}, level.rest, level.looks, level.classes)


def _wrappers(name: str, below: list[tuple[str, ...]]) -> int:
    """How many levels below a split's folder say nothing: ``train/images/cat`` has one."""
    count = 0
    while True:
        firsts = {path[count] if len(path) > count else "" for path in below}
        if len(firsts) != 1 or not (only := next(iter(firsts))) or not is_filling(only, name):
            return count
        count += 1


def _class(path: Sequence[str]) -> str | None:
    return None if not path or is_unlabelled(path[0]) else path[0]


def _of_name(stem: str) -> str | None:
    found = words(stem)
    return (SPLITS.get(found[0]) or SPLITS.get(found[-1])) if found else None


def _whole(stem: str, names: Sequence[str]) -> str:
    """The whole file name that a stem is from, as who writes ``ingest.splits`` sees it."""
    return next(
        (last for name in names if (last := name.rpartition("/")[2]).rpartition(".")[0] == stem),
        stem,
    )
