"""The registered encoder that ``curate.encoder: registry:NAME@ALIAS`` names, laid out as files
before planning.

Stages know no MLflow. What they get is ``.rootstock/encoder.json`` (``encoder``, ``digest``,
``folder``), which curate depends on, and the model's own files in ``folder``, named after their
content: an alias that moved makes curate stale, and nothing else.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from flows.adapters.dvc.hashes import hash_of
from stages.core import paths
from stages.core.errors import ConfigError
from stages.core.io import atomic_directory, refresh_json
from stages.core.params import Params

PREFIX = "registry:"


def check(encoder: str, key: str = "curate.encoder") -> None:
    """Refuse a ``registry:`` encoder that is not there; ``key`` names the parameter.

    Raises:
        ConfigError: no such model, version or alias, or no store to ask; the message names what
            there is.
    """
    if encoder.startswith(PREFIX):
        from flows.adapters.mlflow import database
        from flows.adapters.mlflow.store import Store
        from flows.registry import versions

        if not database.exists():
            raise ConfigError(
                f"{key}: {encoder}: nothing is registered yet; a first run with pixels or"
                " self registers"
            )
        try:
            versions.resolve(Store.open(), encoder.removeprefix(PREFIX))
        except ConfigError as error:
            raise ConfigError(f"{key}: {encoder}: {error}") from None


def materialise(params: Params, path: Path = paths.ENCODER) -> None:
    """Refresh the file, touching it only when its content changes; the store is opened only for
    ``registry:``.

    Raises:
        ConfigError: there is no such model, version or alias; the message names what there is.
    """
    wanted = params.curate.encoder
    content: dict[str, Any] = {"encoder": None, "digest": None, "folder": None}
    if wanted.startswith(PREFIX):
        digest, folder = fetched(wanted.removeprefix(PREFIX))
        content = {"encoder": wanted, "digest": digest, "folder": str(folder)}
    refresh_json(path, content)


def fetched(reference: str) -> tuple[str, Path]:
    """Return the content hash of a registered model and the folder that holds its files."""
    from flows.adapters.mlflow.store import Store
    from flows.registry import versions

    artifact = versions.resolve(Store.open(), reference).artifact
    digest = hash_of(artifact).removesuffix(".dir")
    folder = paths.ENCODERS / digest
    if not folder.is_dir():
        with atomic_directory(folder) as temporary:
            shutil.copytree(artifact, temporary, dirs_exist_ok=True)
    return digest, folder
