"""``dvc.lock``: what each stage was made from and what it made, read while other stages' DVC write
it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.adapters.dvc.hashes import md5
from stages.core.errors import ConfigError
from stages.core.io import canonical_json

PATIENCE = 10.0
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ONE_AT_A_TIME = threading.Lock()
"""DVC's own lock does not guard threads of one process against each other."""


@dataclass(frozen=True)
class LockEntry:
    """What ``dvc.lock`` says of one stage: its identity, its inputs, its outputs."""

    stage: str
    command: str
    dependencies: dict[str, str]
    outputs: dict[str, str]
    sizes: dict[str, int]
    params: dict[str, Any]
    identity: str

    @classmethod
    def parse(cls, stage: str, entry: Mapping[str, Any]) -> LockEntry:
        """Read the entry as DVC writes it."""
        params = {
            key: value
            for values in entry.get("params", {}).values()
            for key, value in values.items()
        }
        items = [*entry.get("deps", []), *entry.get("outs", [])]
        return cls(
            stage=stage,
            command=str(entry.get("cmd", "")),
            dependencies={item["path"]: item.get("md5", "") for item in entry.get("deps", [])},
            outputs={item["path"]: item.get("md5", "") for item in entry.get("outs", [])},
            sizes={item["path"]: int(item.get("size", 0)) for item in items},
            params=params,
            identity=md5(canonical_json(entry)),
        )


def read_lock(path: Path = Path("dvc.lock")) -> dict[str, LockEntry]:
    """The entries of ``dvc.lock`` by stage name; none where the file is missing."""
    with ONE_AT_A_TIME:
        return parse_lock(path.read_text() if path.is_file() else "")


def outputs(path: Path = Path("dvc.lock")) -> dict[str, str]:
    """Return path → hash of everything the stages of ``dvc.lock`` made."""
    entries = read_lock(path).values()
    return {place: digest for entry in entries for place, digest in entry.outputs.items()}


def read_entry(name: str) -> LockEntry:
    """A stage's entry in ``dvc.lock``, which another stage's DVC may be writing at this moment, and
    not in one step.

    Raises:
        ConfigError: there is none.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(yaml.YAMLError, KeyError, AttributeError):
            return read_lock()[name]
        if time.monotonic() > deadline:
            raise ConfigError(f"dvc.lock has no entry for {name}")
        time.sleep(0.02)


def parse_lock(text: str) -> dict[str, LockEntry]:
    """The entries of the text of a ``dvc.lock``."""
    document = yaml.load(text, LOADER) or {}
    return {
        name: LockEntry.parse(name, entry) for name, entry in document.get("stages", {}).items()
    }
