"""Classes that the layout of the sources makes and that can hardly be meant: folders of a split,
and mere copies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from stages.core.data.manifest import Manifest
from stages.core.splits import choice_of, is_filling
from stages.validate.audit import Answer

NAMED = 3
MOST = 200
"""Classes that are compared with each other; layouts with more are not those of splits."""


def structure(manifest: Manifest, choices: Mapping[str, str]) -> list[tuple[str, str, Answer]]:
    """Answers as audits give them, both critical; ``choices`` are ``ingest.splits``."""
    return [
        ("layout", "critical", repeated_folders(manifest, choices)),
        ("copies", "critical", copied_classes(manifest)),
    ]


def repeated_folders(manifest: Manifest, choices: Mapping[str, str]) -> Answer:
    """Whether folders taken for classes hold the same sub-folders, as those of splits do."""
    expected = "folders of classes do not repeat the same sub-folders"
    inside, rows = _inside(manifest, choices)
    if len(inside) > MOST:
        inside = {}
    same = all(folders == next(iter(inside.values())) for folders in inside.values())
    alike: set[str] = set()
    shared: set[str] = set()
    for one, other in combinations(sorted(inside), 2):
        both = inside[one] & inside[other]
        named = {name for name in both if not name.isdecimal()}
        if len(named) > 1 or (same and len(both) > 1):
            alike |= {one, other}
            shared |= both
    if not alike:
        return Answer(expected, True, "none do")
    classes, folders = sorted(alike), sorted(shared)
    first, second = classes[:2]
    found = (
        f"{_listed(classes)} all hold {_listed(folders)}: these look like the classes, and the"
        f" folders above like splits; ingest.splits: {{{first}: train, {second}: test}} makes them"
        f" that, {{{first}: class, {second}: class}} says they are classes"
    )
    return Answer(
        expected,
        False,
        found,
        np.array(sorted(row for name in classes for row in rows[name]), np.int64),
    )


def copied_classes(manifest: Manifest) -> Answer:
    """Whether every class has an image that is no copy of one under another label: curate keeps the
    first copy alone.
    """
    expected = "every class has images of its own"
    frame = manifest.frame
    known = frame[manifest.ok & frame["label"].notna()]
    first = known.drop_duplicates("id").set_index("id")["label"]
    owner = known["id"].map(first)
    keeps = set(known["label"][owner == known["label"]])
    lost = known[~known["label"].isin(list(keeps))]
    if lost.empty:
        return Answer(expected, True, "they have")
    counts = frame["label"].value_counts()
    parts = [
        f"all {len(part)} of {label!r} are copies of images of {owner[part.index[0]]!r}"
        f" ({counts[owner[part.index[0]]]:,} images)"
        for label, part in lost.groupby("label")
    ]
    return Answer(expected, False, "; ".join(parts), lost.index.to_numpy(np.int64))


def _inside(
    manifest: Manifest, choices: Mapping[str, str]
) -> tuple[dict[str, set[str]], dict[str, list[int]]]:
    """The folders right below each class's folder, where a folder bears its name, and the rows in
    them.
    """
    classes = {name for name in manifest.classes if choice_of(name, choices) != "class"}
    inside: dict[str, set[str]] = defaultdict(set)
    rows: dict[str, list[int]] = defaultdict(list)
    for row, uri in enumerate(manifest.frame["uri"]):
        parts = str(uri).partition(":")[2].split("/")[:-1]
        for place, part in enumerate(parts[:-1]):
            if part in classes:
                if not is_filling(parts[place + 1], part):
                    inside[part].add(parts[place + 1])
                    rows[part].append(row)
                break
    return inside, rows


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:NAMED]))
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown
