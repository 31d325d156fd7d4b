"""Long tags: JSON that is longer than MLflow keeps of a tag, in several of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count, takewhile
from typing import Any

LONGEST = 4500
"""Characters of a piece; MLflow cuts or refuses tags of more than 5,000 or 8,000, by version."""


def written(key: str, value: Any) -> dict[str, str]:
    """Return a value as JSON under ``key``, and under ``key.2``, ``key.3`` … where it is long."""
    text = json.dumps(value, sort_keys=True)
    pieces = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
    return {_name(key, number): piece for number, piece in enumerate(pieces, start=1)}


def read(tags: Mapping[str, str], key: str) -> Any:
    """Return the value that :func:`written` put into tags; an empty dictionary where there is
    none.
    """
    return json.loads(text(tags, key) or "{}")


def text(tags: Mapping[str, str], key: str) -> str:
    """Return the JSON text of such a value, empty where there is none."""
    names = takewhile(tags.__contains__, (_name(key, number) for number in count(1)))
    return "".join(tags[name] for name in names)


def _name(key: str, number: int) -> str:
    return key if number == 1 else f"{key}.{number}"
