"""Errors of pydantic in one line: the key, what was given, what is allowed, the nearest name."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from stages.core.errors import nearest


def explain(error: ValidationError, where: Path | str, model: type[BaseModel]) -> str:
    """The fault of a validation error to mend first, as one line."""
    faults = error.errors()
    fault = next(
        (fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0]
    )  # a misspelt key is missing, too
    keys = [
        str(key)
        for key in fault["loc"]
        if str(key) in _known(model) or fault["type"] in {"extra_forbidden", "missing"}
    ]
    key = ".".join(keys)
    if fault["type"] == "extra_forbidden":
        allowed = _known(_section(model, keys[:-1]), deep=False)
        hint = nearest(keys[-1], allowed)
        return f"{where}: {key} is not a parameter; {hint}allowed here: {', '.join(allowed)}"
    if fault["type"] == "missing":
        return f"{where}: {key} is missing; add it (every parameter stands in the file)"
    if fault["type"] == "value_error":
        return f"{where}: {f'{key}: ' if key else ''}{fault['ctx']['error']}"
    messages = [
        item["msg"] for item in error.errors() if list(map(str, item["loc"]))[: len(keys)] == keys
    ]
    allowed_text = " or ".join(
        dict.fromkeys(message.removeprefix("Input ") for message in messages)
    )
    return f"{where}: {f'{key} is ' if key else ''}{fault['input']!r}; it {allowed_text}"


def _known(model: type[BaseModel], deep: bool = True) -> list[str]:
    names = [field.alias or name for name, field in model.model_fields.items()]
    if deep:
        for field in model.model_fields.values():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                names += _known(field.annotation)
    return names


def _section(model: type[BaseModel], keys: list[str]) -> type[BaseModel]:
    for key in keys:
        for name, field in model.model_fields.items():
            annotation = field.annotation
            if (
                key in (field.alias or name, name)
                and isinstance(annotation, type)
                and issubclass(annotation, BaseModel)
            ):
                model = annotation
    return model
