"""A list of named things with settings (``curate.steps``, ``validate.audits``), checked before
anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from stages.core import paths, plugins
from stages.core.errors import ConfigError
from stages.core.validation_errors import explain

Entry = str | Mapping[str, Mapping[str, Any] | None]
"""A name, or a name with its settings: ``budget``, ``{near_duplicates: {similarity: 0.95}}``."""


@dataclass(frozen=True)
class Named:
    """One thing of such a list: the module of that name and its own ``Settings``, checked."""

    name: str
    module: ModuleType
    settings: Any


def parse(entries: Sequence[Entry], package: str, key: str) -> list[Named]:
    """Every entry with its settings; ``package`` holds the modules, ``key`` is the parameter that
    lists them.

    Raises:
        ConfigError: a name or setting that does not exist, in one line with the nearest name.
    """
    return [_parse(entry, package, f"{key}[{number}]") for number, entry in enumerate(entries)]


def check(entries: Sequence[Entry], package: str, key: str) -> None:
    """Refuse what :func:`parse` would, loading only modules that were given settings."""
    for number, entry in enumerate(entries):
        if isinstance(entry, str):
            plugins.check(package, entry, key=f"{key}[{number}]")
        else:
            _parse(entry, package, f"{key}[{number}]")


def _parse(entry: Entry, package: str, key: str) -> Named:
    if not isinstance(entry, str) and len(entry) != 1:
        raise ConfigError(
            f"{paths.PARAMS}: {key}: one name per entry, found {', '.join(entry) or 'none'}"
        )
    name, given = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
    plugins.check(package, name, key=key)
    module = plugins.load(package, name)
    try:
        return Named(name, module, module.Settings.model_validate(dict(given or {})))
    except ValidationError as error:
        raise ConfigError(
            explain(error, f"{paths.PARAMS}: {key}.{name}", module.Settings)
        ) from None
