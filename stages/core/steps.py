"""``curate.steps``: an ordered list of operators with settings, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from stages.core import paths, registry
from stages.core.errors import ConfigError
from stages.core.params import Curate, Section, explain

OPERATORS = "stages.curate.operators"
ENCODERS = "stages.curate.encoders"
NEED_ARGUMENT = {"registry": "rootstock-encoder@frozen-best", "timm": "resnet18.a1_in1k"}


@dataclass(frozen=True)
class Step:
    """One operator of the list: the module with its ``apply`` and its own checked settings."""

    name: str
    module: ModuleType
    settings: Section


def parse_steps(curate: Curate) -> list[Step]:
    """Every step with its settings.

    Raises:
        ConfigError: an operator, encoder or setting that does not exist, in one line with the nearest name.
    """
    split_encoder(curate.encoder)
    return [_parse(number, entry) for number, entry in enumerate(curate.steps)]


def check_steps(curate: Curate) -> None:
    """Refuse what :func:`parse_steps` would, loading only operators that were given settings."""
    split_encoder(curate.encoder)
    for number, entry in enumerate(curate.steps):
        if isinstance(entry, str):
            registry.check(OPERATORS, entry, key=f"curate.steps[{number}]")
        else:
            _parse(number, entry)


def split_encoder(encoder: str) -> tuple[str, str]:
    """``curate.encoder`` as the name of an encoder and its argument; a bare timm name is ``timm`` and that name.

    Raises:
        ConfigError: neither an encoder nor a network that timm knows, or an encoder without the argument it needs.
    """
    kind, colon, argument = encoder.partition(":")
    known = registry.names(ENCODERS)
    if kind not in known and not colon and _is_timm(encoder):
        return "timm", encoder
    registry.check(ENCODERS, kind, key="curate.encoder")
    if kind in NEED_ARGUMENT and not argument:
        raise ConfigError(f"curate.encoder: {kind} needs a name, for example {kind}:{NEED_ARGUMENT[kind]}")
    return kind, argument


def _is_timm(name: str) -> bool:
    import timm

    return bool(timm.is_model(name))


def _parse(number: int, entry: str | Mapping[str, Mapping[str, Any] | None]) -> Step:
    key = f"curate.steps[{number}]"
    if not isinstance(entry, str) and len(entry) != 1:
        raise ConfigError(f"{paths.PARAMS}: {key}: one operator per entry, found {', '.join(entry) or 'none'}")
    name, given = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
    registry.check(OPERATORS, name, key=key)
    module = registry.load(OPERATORS, name)
    try:
        return Step(name, module, module.Settings.model_validate(dict(given or {})))
    except ValidationError as error:
        raise ConfigError(explain(error, f"{paths.PARAMS}: {key}.{name}", module.Settings)) from None
