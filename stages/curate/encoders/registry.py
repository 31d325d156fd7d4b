"""A registered encoder, ``registry:NAME@ALIAS`` or ``registry:NAME/VERSION``, as the flow laid it
out.

Stages know no registry. Before planning, the flow copies the model to
``.rootstock/encoders/<digest>/`` and writes ``.rootstock/encoder.json`` (``encoder``, ``digest``,
``folder``), which curate depends on: an alias that moved reruns curate.
"""

from __future__ import annotations

from typing import Any

from stages.core import paths
from stages.core.errors import ConfigError
from stages.core.io import read_json
from stages.core.models.artifact import load_encoder
from stages.curate.encoder import Encode, Source
from stages.curate.network_encoder import as_encode

VERSION = 1


def identity(source: Source, argument: str) -> str:
    """The digest of the model the name stood for when the flow looked."""
    return str(_laid_out(argument)["digest"])


def prepare(source: Source, argument: str) -> Encode:
    """Load the laid-out model."""
    return as_encode(load_encoder(_laid_out(argument)["folder"]), source, f"registry:{argument}")


def _laid_out(argument: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(paths.ENCODER) if paths.ENCODER.is_file() else {}
    if found.get("encoder") != f"registry:{argument}":
        raise ConfigError(
            f"curate.encoder: registry:{argument} has not been fetched: rootstock run does it,"
            " python -m stages.curate cannot"
        )
    return found
