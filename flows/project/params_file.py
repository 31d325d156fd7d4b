"""``--set``: changes of ``params.yaml`` that keep its comments and its order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

from stages.core import paths
from stages.core.errors import ConfigError, nearest
from stages.core.io import write_text
from stages.core.params import Params, check_params, parse_sections, read_params

Check = Callable[[Params], None]


def override(
    assignments: Iterable[str], path: Path = paths.PARAMS, check: Check | None = None
) -> Params:
    """Apply ``key.path=value`` (values in YAML) to the file, keeping its comments; a refused value
    changes nothing.

    ``check`` may refuse what types cannot (a folder that does not exist) by raising.
    """
    text, params = changed(assignments, path, check)
    if text != read_params(path):
        write_text(path, text)
    return params


def changed(
    assignments: Iterable[str], path: Path = paths.PARAMS, check: Check | None = None
) -> tuple[str, Params]:
    """What the file would say, and mean, with these assignments; nothing is written."""
    text = read_params(path)
    parse_sections(text, path)
    editor = YAML()
    editor.representer.add_representer(
        type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    editor.preserve_quotes = True
    editor.width = 4096
    editor.indent(mapping=2, sequence=4, offset=2)
    document = editor.load(text)
    for assignment in assignments:
        _assign(document, assignment)
    edited = StringIO()
    editor.dump(document, edited)
    params = check_params(parse_sections(edited.getvalue(), path), path)
    if check is not None:
        check(params)
    return edited.getvalue(), params


def _assign(document: Any, assignment: str) -> None:
    key, sign, raw = assignment.partition("=")
    if not sign or not key.strip():
        raise ConfigError(
            f"--set {assignment}: expected key=value, for example --set pretrain.epochs=50"
        )
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError:
        raise ConfigError(f"--set {assignment}: the value is not valid YAML") from None
    if isinstance(value, dict) and not raw.lstrip().startswith("{"):
        value = raw.strip()  # folder: is a source without its path, no mapping
    *sections, last = key.strip().split(".")
    for depth, name in enumerate(sections):
        if not isinstance(document, Mapping) or name not in document:
            allowed = list(document) if isinstance(document, Mapping) else []
            where = ".".join(sections[: depth + 1])
            raise ConfigError(
                f"--set {assignment}: {where} does not exist; {nearest(name, allowed)}there is"
                f" {', '.join(allowed)}"
            )
        document = document[name]
    if not isinstance(document, dict):
        raise ConfigError(f"--set {assignment}: {'.'.join(sections)} is one value, not a section")
    document[last] = value
