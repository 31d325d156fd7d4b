"""Splits the sources give, as far as they can be used: a held-out split without a label measures
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stages.core.data.sources import Source
from stages.core.errors import DataError, nearest
from stages.core.layout import UNLABELLED, described
from stages.core.sections import Ingest
from stages.core.splits import choice_of
from stages.ingest.listing import Entries

HELD_OUT = {"val": "validation_fraction", "test": "test_fraction"}


def check_choices(listed: list[tuple[Source, Entries]], ingest: Ingest) -> None:
    """Refuse a name in ``ingest.splits`` that nothing in the sources has, and data that are held
    out whole.

    Raises:
        DataError: and what to do.
    """
    names = sorted({name for _, entries in listed for name in entries.names})
    for key in ingest.splits:
        if not any(choice_of(name, {key: "class"}) for name in names):
            raise DataError(
                f"ingest.splits: {key!r} names nothing in the sources; {nearest(key, names)}nothing"
                " would change"
            )
    learnable = any(
        split in (None, "train") for source, entries in listed for split in entries.splits or [None]
    )
    if listed and not learnable:
        source, entries = listed[0]
        split = next(split for split in entries.splits if split)
        raise DataError(
            f"every image of {source.kind}:{source.argument} is given as {split} (by"
            f" {entries.given}), so there is nothing to learn from: add a source with training"
            " images, or say in ingest.splits what the names mean, as in {NAME: class}"
        )


def settle(listed: list[tuple[Source, Entries]], ingest: Ingest) -> list[tuple[Source, Entries]]:
    """Use held-out images unlabelled where their split holds no label and other images have one;
    the remark says so.
    """
    return [
        (source, _settled(entries, ingest) if source.role == "target" else entries)
        for source, entries in listed
    ]


def given_lines(listed: list[tuple[Source, Entries]]) -> Iterator[str]:
    """A line per source that gives splits."""
    for source, entries in listed:
        if source.role != "target" or entries.given is None:
            continue
        drawn = entries.splits.count(None) - entries.apart
        where = f"{source.name}: " if len(listed) > 1 else ""
        splits = (
            [split for split in entries.splits if split]
            + [UNLABELLED] * entries.apart
            + [None] * drawn
        )
        yield where + described(entries.given, splits)


def _settled(entries: Entries, ingest: Ingest) -> Entries:
    if entries.given is None or not any(label is not None for label in entries.labels):
        return entries
    for split, fraction in HELD_OUT.items():
        there = [one == split for one in entries.splits]
        count = sum(there)
        if not count or any(
            is_it and label is not None for is_it, label in zip(there, entries.labels, strict=True)
        ):
            continue
        instead = (
            f"{split} is drawn from train"
            if getattr(ingest, fraction) > 0
            else f"there is no {split} (ingest.{fraction} is 0)"
        )
        entries = replace(
            entries,
            splits=[
                None if is_it else one for is_it, one in zip(there, entries.splits, strict=True)
            ],
            apart=entries.apart + count,
            remarks=(
                *entries.remarks,
                f"{split} holds no labelled image: its {count:,} are used unlabelled; {instead}",
            ),
        )
    return entries
