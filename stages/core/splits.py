"""Names that give a split: ``train``, ``test_set``, ``seg_train``, ``val2017``, ``Valid``,
``images-test`` and their like.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

Choice = Literal["train", "val", "test", "unlabelled", "class"]
"""What ``ingest.splits`` may make of a name; ``class`` means it is no split."""

SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(
        ("val", "valid", "validation", "validate", "dev", "devel", "development"), "val"
    ),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout"), "test"),
}
"""Words that mean a split."""
UNLABELLED = frozenset({"unlabelled", "unlabeled", "unsup", "unsupervised"})
"""Words for images without labels, in place of a class or of a split."""

_FILLING = frozenset(
    {
        *(
            "set",
            "sets",
            "data",
            "dataset",
            "datasets",
            "image",
            "images",
            "img",
            "imgs",
            "pic",
            "pics",
        ),
        *("picture", "pictures", "photo", "photos", "sample", "samples", "frame", "frames", "file"),
        *(
            "files",
            "input",
            "inputs",
            "folder",
            "dir",
            "split",
            "splits",
            "subset",
            "part",
            "parts",
        ),
        *("shard", "batch", "of", "the", "my", "all", "full", "final", "raw", "public", "private"),
        *("new", "original", "cropped", "resized", "large", "small", "big", "mini", "tiny"),
        *("jpg", "jpeg", "png", "tar", "parquet", "fold"),
    }
)
_PASTED = re.compile(
    rf"({'|'.join(sorted(SPLITS, key=len, reverse=True))})(sets?|data|datasets?|images?|imgs?|splits?|samples?)"  # noqa: E501
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORDS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Reading:
    """What the words of a name say: the one split they name, if any, and the words that name
    nothing.
    """

    split: str | None
    others: tuple[str, ...]

    @property
    def plain(self) -> bool:
        """Whether the name says a split and nothing else."""
        return self.split is not None and not self.others


@dataclass(frozen=True)
class Level:
    """What the names of one level of folders mean."""

    given: dict[str, str]  # name → train, val, test or unlabelled
    rest: tuple[str, ...] = ()  # names that mean nothing
    looks: tuple[str, ...] = ()  # names that look like a split and are not used as one
    classes: frozenset[str] = field(default_factory=frozenset)  # names ingest.splits calls classes

    @property
    def splits(self) -> set[str]:
        """The splits that are given."""
        return set(self.given.values()) - {"unlabelled"}


@lru_cache(maxsize=1 << 14)
def words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, without digits: ``trainSet_2`` is ``train``, ``set``."""
    text = _CAMEL.sub(" ", unicodedata.normalize("NFKC", name)).lower()
    found: list[str] = []
    for word in _WORDS.findall(text):
        pasted = _PASTED.fullmatch(word)
        found += pasted.groups() if pasted else (word,)
    return tuple(found)


def read(name: str) -> Reading:
    """Read one name. Two different splits in it are none."""
    found = words(name)
    splits = {SPLITS[word] for word in found if word in SPLITS}
    others = tuple(
        word for word in found if word not in SPLITS and word not in _FILLING and len(word) > 1
    )
    return Reading(splits.pop() if len(splits) == 1 else None, others)


def is_unlabelled(name: str) -> bool:
    """Whether a folder in the place of a class holds images without labels."""
    return name.lower() in UNLABELLED


def is_filling(name: str, beside: str) -> bool:
    """Whether a folder below a split's folder says nothing new: ``seg_train/seg_train``,
    ``train/images``.
    """
    found = set(words(name))
    return name == beside or (bool(found) and found <= _FILLING | set(words(beside)))


def read_level(
    names: Iterable[str],
    choices: Mapping[str, str],
    below: Mapping[str, set[str]] | None = None,
    repeated: bool = False,
) -> Level | None:
    """What the names of one level mean together; ``None`` where none of them is a split or looks
    like one.

    A level is one of splits where all its names are, or some name ``train`` and some ``val`` or
    ``test``. Words that several of them have in common (``seg_train``, ``seg_test``) say nothing,
    nor others where the folders are alike in what is below them (``seg_train/cat``, ``test/cat``)
    or above.

    Args:
        choices: what ``ingest.splits`` makes of single names.
        below: all folders in each of them, to recognise ``test/cat`` beside ``cat``.
        repeated: several folders hold these same names.
    """
    everything = sorted(set(names))
    chosen = {
        name: choice for name in everything if (choice := choice_of(name, choices)) is not None
    }
    forced = {name: choice for name, choice in chosen.items() if choice != "class"}
    readings = {name: read(name) for name in everything if name not in chosen}
    given = forced | _read_splits(readings)
    given |= _read_alike(readings, given, below or {}, repeated)
    unlabelled = _read_unlabelled(readings, given)
    classes = frozenset(chosen.keys() - forced.keys())
    rest = tuple(
        name
        for name in everything
        if name not in given and name not in unlabelled and name not in classes
    )
    looks = tuple(name for name in rest if readings[name].split)
    splits = set(given.values()) - {"unlabelled"}
    both = "train" in splits and len(splits) > 1
    beside = any(
        (below or {}).get(name, set()) & set(rest) for name in given if given[name] != "train"
    )
    if forced or (splits and (both or beside or not (rest or classes))):
        return Level(given | dict.fromkeys(unlabelled, "unlabelled"), rest, looks, classes)
    looks = tuple(name for name, reading in readings.items() if reading.split)
    return Level({}, rest, looks, classes) if looks else None


def _read_splits(readings: Mapping[str, Reading]) -> dict[str, str]:
    """Name → split, for names that say nothing else, or nothing that names of other splits do not
    say, too.
    """
    common: dict[tuple[str, ...], set[str]] = {}
    for reading in readings.values():
        if reading.split is not None:
            common.setdefault(reading.others, set()).add(reading.split)
    given = {
        name: reading.split
        for name, reading in readings.items()
        if reading.split is not None and (reading.plain or len(common[reading.others]) > 1)
    }
    evaluation = {name for name in given if {"eval", "evaluation"} & set(words(name))}
    others = {split for name, split in given.items() if name not in evaluation}
    if evaluation and others >= {"train", "test"} and "val" not in others:
        given |= dict.fromkeys(
            evaluation, "val"
        )  # beside train and test, eval is what others call val
    return given


def _read_alike(
    readings: Mapping[str, Reading],
    given: Mapping[str, str],
    below: Mapping[str, set[str]],
    repeated: bool,
) -> dict[str, str]:
    """Name → split, for names that say more than a split but hold the folders that another split
    holds.
    """
    splits = {
        name: reading.split
        for name, reading in readings.items()
        if reading.split is not None and name not in given
    }
    everything = {**splits, **given}
    if (
        repeated
        and len(everything) == len({*readings, *given})
        and len(set(everything.values())) > 1
    ):
        return splits
    return {
        name: split
        for name, split in splits.items()
        if any(
            other != split and below.get(name, set()) & below.get(beside, set())
            for beside, other in everything.items()
        )
    }


def _read_unlabelled(readings: Mapping[str, Reading], given: Mapping[str, str]) -> set[str]:
    """Names of images without labels: ``unlabelled``, and ``stl_unlabelled`` beside
    ``stl_train``.
    """
    known = UNLABELLED | {
        word for name in given if name in readings for word in readings[name].others
    }
    return {
        name
        for name, reading in readings.items()
        if not reading.split and UNLABELLED & set(reading.others) and set(reading.others) <= known
    }


def choice_of(name: str, choices: Mapping[str, str]) -> str | None:
    """What ``ingest.splits`` makes of a name: by the name itself, then by a pattern such as
    ``*``.
    """
    if name in choices:
        return choices[name]
    return next((choice for pattern, choice in choices.items() if fnmatchcase(name, pattern)), None)
