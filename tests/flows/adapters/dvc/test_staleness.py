"""A plan says what changed in the sources, as long as somebody remembers what they were."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from flows.adapters.dvc import staleness
from flows.adapters.dvc.lockfile import LockEntry
from stages.core import paths
from stages.core.io import write_json

FINGERPRINT = str(paths.FINGERPRINT)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fingerprint(**files: tuple[int, str]) -> str:
    """Write one; returns its hash, as DVC records it."""
    sources = [
        {"source": name, "files": count, "sha256": content}
        for name, (count, content) in files.items()
    ]
    write_json(paths.FINGERPRINT, {"format": 1, "sources": sources})
    return hashlib.md5(paths.FINGERPRINT.read_bytes(), usedforsecurity=False).hexdigest()


def ingested(digest: str) -> None:
    entry = LockEntry(
        "ingest", "python -m stages.ingest", {FINGERPRINT: digest}, {}, {}, {}, "identity"
    )
    staleness.remember(entry)


def test_every_source_that_changed_is_named_with_how() -> None:
    before = fingerprint(
        photos=(800, "a"), shapes=(0, "b"), scans=(5, "c"), digits=(1, "d"), synthetic=(0, "h")
    )
    ingested(before)
    fingerprint(
        photos=(1200, "e"), scans=(5, "f"), digits=(1, "d"), drawings=(3, "g"), synthetic=(0, "i")
    )
    assert staleness.changes(FINGERPRINT, before) == [
        "source drawings is new",
        "source photos: 800 → 1,200 files",
        "source scans: some of its 5 files are others",
        "source shapes is gone",
        "source synthetic is given otherwise",
    ]


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_where_nothing_is_remembered_the_dependency_is_named(content: str | None) -> None:
    before = fingerprint(photos=(800, "a"))
    ingested(before)
    note = staleness.SOURCES / f"{before}.json"
    note.unlink()
    if content is not None:
        note.write_text(content)
    fingerprint(photos=(1200, "e"))
    assert staleness.changes(FINGERPRINT, before) == [f"{FINGERPRINT} changed"]


def test_sources_that_changed_while_the_stage_ran_are_not_taken_for_what_it_read() -> None:
    before = fingerprint(photos=(800, "a"))
    fingerprint(photos=(900, "b"))
    ingested(before)
    assert not staleness.SOURCES.exists()
