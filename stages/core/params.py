"""``params.yaml``, typed once: one frozen model per section. A wrong key or value is one line that
says what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    ValidationError,
)

from stages.core import paths
from stages.core.errors import ConfigError
from stages.core.sections import (
    Augment,
    Auto,
    Curate,
    Distill,
    Evaluate,
    Finetune,
    Ingest,
    Monitor,
    Pretrain,
    Promote,
    Schedule,
    Section,
    Validate,
)
from stages.core.validation_errors import explain


class Params(Section):
    """The whole file."""

    seed: Annotated[int, Field(ge=0)]
    budget: Auto | Literal["quick", "standard", "thorough"]
    ingest: Ingest
    validate_: Validate = Field(alias="validate")  # pydantic keeps the bare name for itself
    curate: Curate
    augment: Augment
    pretrain: Pretrain
    distill: Distill
    finetune: Finetune
    evaluate: Evaluate
    promote: Promote
    monitor: Monitor
    schedule: Schedule


def load_params(path: Path = paths.PARAMS) -> Params:
    """Read and check the file.

    Raises:
        ConfigError: one line naming the key, what was given, what is allowed and the nearest valid
            name.
    """
    return check_params(parse_sections(read_params(path), path), path)


def read_params(path: Path = paths.PARAMS) -> str:
    """The file's text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 (byte {error.start:,}): save it in that encoding"
        ) from None
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing: run this in the root of a Rootstock project ({Path.cwd()} is not"
            " one)"
        ) from None


def check_params(values: Mapping[str, Any], path: Path = paths.PARAMS) -> Params:
    """Check a mapping as :func:`load_params` does."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, path, Params)) from None


def parse_sections(text: str, path: Path = paths.PARAMS) -> Mapping[str, Any]:
    """The file's text as a mapping, not yet checked.

    Raises:
        ConfigError: it is not valid YAML, or a key stands twice in a section: YAML itself would let
            the last one win.
    """
    try:
        values = yaml.load(text, OnceLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(f"{path}, line {line}: not valid YAML: {error.problem}") from None
    except Repeated as error:
        raise ConfigError(f"{path}, line {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{path}: expected sections such as 'ingest:', found {type(values).__name__}"
        )
    return values


class Repeated(Exception):
    """Raised when a mapping names a key twice."""


class OnceLoader(yaml.SafeLoader):
    """A safe loader that refuses a key that stands twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the safe loader's."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines and key.tag != "tag:yaml.org,2002:merge":
                raise Repeated(
                    f"{line}: {name!r} stands here again, first in line {lines[name]}: keep one of"
                    " the two"
                )
            lines.setdefault(name, line)
        return super().construct_mapping(node, deep)
