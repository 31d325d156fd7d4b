"""``validate.audits``: a list of audits with settings, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from pydantic import ValidationError

from stages.core import paths, registry
from stages.core.errors import ConfigError
from stages.core.params import Section, Validate, explain

AUDITS = "stages.validate.audits"
Severity = Literal["critical", "warning", "info"]


class AuditSettings(Section):
    """What every audit can be told: how grave a finding of it is."""

    severity: Severity


@dataclass(frozen=True)
class Audit:
    """One audit of the list: the module with its ``audit`` and its own checked settings."""

    name: str
    module: ModuleType
    settings: AuditSettings


def parse_audits(validate: Validate) -> list[Audit]:
    """Every audit with its settings.

    Raises:
        ConfigError: an audit or setting that does not exist, in one line with the nearest name.
    """
    return [_parse(number, entry) for number, entry in enumerate(validate.audits)]


def check_audits(validate: Validate) -> None:
    """Refuse what :func:`parse_audits` would, loading only audits that were given settings."""
    for number, entry in enumerate(validate.audits):
        if isinstance(entry, str):
            registry.check(AUDITS, entry, key=f"validate.audits[{number}]")
        else:
            _parse(number, entry)


def _parse(number: int, entry: str | Mapping[str, Mapping[str, Any] | None]) -> Audit:
    key = f"validate.audits[{number}]"
    if not isinstance(entry, str) and len(entry) != 1:
        raise ConfigError(f"{paths.PARAMS}: {key}: one audit per entry, found {', '.join(entry) or 'none'}")
    name, given = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
    registry.check(AUDITS, name, key=key)
    module = registry.load(AUDITS, name)
    try:
        return Audit(name, module, module.Settings.model_validate(dict(given or {})))
    except ValidationError as error:
        raise ConfigError(explain(error, f"{paths.PARAMS}: {key}.{name}", module.Settings)) from None
