"""Labels and splits in the names of files: ``ingest.label_pattern``, such as ``{label}.*`` for
``cat.0.jpg``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_PART = re.compile(r"(\{label\}|\{split\}|\*|\?)")
_MEANS = {"{label}": "(?P<label>.+)", "{split}": "(?P<split>[^/]+?)", "*": ".*", "?": "."}
_NAMED = re.compile(r"([^\W\d_][^\d]*?)[ ._-]*\(?\d+\)?")


class NamePattern:
    """A pattern with ``{label}``, perhaps ``{split}``, ``*`` and ``?``; with a ``/`` in it, it is
    about the whole path.

    Raises:
        ValueError: it names neither label nor split, or one of them twice.
    """

    def __init__(self, text: str) -> None:
        counts = Counter(_PART.findall(text))
        if not counts["{label}"] and not counts["{split}"]:
            raise ValueError(
                f"{text!r} holds neither {{label}} nor {{split}}; for cat.0.jpg write {{label}}.*"
            )
        if max(counts["{label}"], counts["{split}"]) > 1:
            raise ValueError(f"{text!r} names a part twice")
        self.labels, self.splits, self.whole = (
            counts["{label}"] > 0,
            counts["{split}"] > 0,
            "/" in text,
        )
        self._regex = re.compile(
            "".join(_MEANS.get(part) or re.escape(part) for part in _PART.split(text)), re.S
        )

    def match(self, path: str) -> tuple[str | None, str | None] | None:
        """Label and split of a ``/``-separated path, matched without its extension or with it;
        ``None``: it does not fit.
        """
        name = path if self.whole else path.rpartition("/")[2]
        folder, slash, last = name.rpartition("/")
        stem = last.rpartition(".")[0] or last
        found = self._regex.fullmatch(folder + slash + stem) or self._regex.fullmatch(name)
        if found is None:
            return None
        parts = found.groupdict()
        return parts.get("label"), parts.get("split")


def seem_named(files: Iterable[str]) -> tuple[str, ...]:
    """What file names begin with that a number follows, where it looks like a few classes: ``cat``,
    ``dog``.
    """
    found: Counter[str] = Counter()
    total = 0
    for file in files:
        total += 1
        stem = file.rpartition("/")[2].rpartition(".")[0]
        if match := _NAMED.fullmatch(stem):
            found[match.group(1).rstrip(" ._-")] += 1
    few = 2 <= len(found) <= max(2, total // 5) and min(found.values()) >= 2
    return tuple(sorted(found)) if few and found.total() >= 0.9 * total else ()
