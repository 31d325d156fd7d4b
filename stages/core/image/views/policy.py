"""A view policy: which operations, in which order, with which settings. The augment stage writes
it, training reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from stages.core import plugins
from stages.core.errors import ConfigError, DataError
from stages.core.io import write_text
from stages.core.views.draws import OpSettings

OPS = "stages.core.image.views.ops"
GEOMETRY = ("rotation", "affine", "crop", "flip")
"""Operations that share the one warp, in the order the warp has them; they come first in a list."""


class Policy(BaseModel):
    """A named policy.

    Attributes:
        why: one sentence: what it was chosen for. views: one list of operations per view; the third
        view uses the first list again, and so on. local: what small crops go through (multi-crop);
        their ``crop`` scale is what makes them local.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    why: str
    views: tuple[tuple[dict[str, Any], ...], ...]
    local: tuple[dict[str, Any], ...]

    @field_validator("views", "local", mode="after")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        return (
            tuple(map(_completed, value))
            if value and isinstance(value[0], tuple)
            else _completed(value)
        )

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Read ``policy.yaml``."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text()))
        except FileNotFoundError:
            raise DataError(f"{path} is missing: run the augment stage") from None
        except yaml.YAMLError as error:
            raise DataError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
        except ValidationError as error:
            fault = error.errors()[0]
            raise DataError(
                f"{path} is no view policy: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            ) from None

    def write(self, path: Path) -> None:
        """Write every operation with every setting, so that nothing is left to a default that may
        change.
        """
        text = yaml.safe_dump(
            self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120
        )
        write_text(path, text)


def settings(op: Mapping[str, Any]) -> OpSettings:
    """The typed settings of one entry such as ``{"op": "flip", "probability": 0.5}``."""
    plugins.check(OPS, op["op"], key="augment.policy: op")
    kind: type[OpSettings] = plugins.load(OPS, op["op"]).Settings
    try:
        return kind.model_validate({key: value for key, value in op.items() if key != "op"})
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise ConfigError(
            f"augment.policy: {op['op']}.{key} is {fault['input']!r}: {fault['msg']}"
        ) from None


def _completed(ops: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    names = [op.get("op") for op in ops]
    geometric = [name for name in names if name in GEOMETRY]
    if names[: len(geometric)] != sorted(geometric, key=GEOMETRY.index):
        raise ValueError(
            f"geometric operations come first, in the order {', '.join(GEOMETRY)}; got"
            f" {', '.join(map(str, names))}"
        )
    return tuple({"op": op["op"], **settings(op).model_dump(mode="json")} for op in ops)
