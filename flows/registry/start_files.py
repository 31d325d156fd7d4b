"""The weights that ``pretrain.start`` names, described in one file before planning.

Stages know neither MLflow nor a download. What they get is ``.rootstock/start.json``, which
pretrain depends on: another file behind the same name makes pretrain stale.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from flows.registry import encoder_files
from stages.core import paths
from stages.core.errors import ConfigError, DataError
from stages.core.io import read_json, refresh_json
from stages.core.params import Params
from stages.core.starts import PRETRAINED, PUBLIC, RANDOM, cached, described, network, split_start

KEY, TEACHER_KEY = "pretrain.start", "distill.teacher"
ABOUT = ("sha256", "origin", "licence", "backbone", "stem", "mean", "std")


def check(start: str, there: bool = True, key: str = KEY) -> None:
    """Refuse a start that cannot be used; ``there``: also one whose file is missing.

    Raises:
        ConfigError: one line; for public weights it names the command that fetches them.
    """
    kind, argument = split_start(start)
    if not there or start in {RANDOM, PRETRAINED}:
        return
    if kind == "registry":
        encoder_files.check(start, key)
    elif kind == "file":
        if not Path(argument).expanduser().is_file():
            raise ConfigError(f"{key}: {start}: there is no such file")
    elif not cached(start).is_file() or not described(start).is_file():
        raise ConfigError(
            f"{key}: the weights of {start} are not in this project, and a run downloads nothing:"
            f" rootstock weights get {start}"
        )


def materialise(
    params: Params, path: Path = paths.START, teacher_path: Path = paths.TEACHER
) -> None:
    """Refresh the files of ``pretrain.start`` and ``distill.teacher``, touching them only when
    their content changes.

    Raises:
        ConfigError: weights are not there, or not the ones that were fetched.
    """
    for key, start, place in (
        (KEY, params.pretrain.start, path),
        (TEACHER_KEY, params.distill.teacher, teacher_path),
    ):
        content: dict[str, Any] = {"start": start}
        if start not in {RANDOM, PRETRAINED}:
            check(start, key=key)
            content = {"start": start, **dict.fromkeys(ABOUT), **_described(start, key)}
        refresh_json(place, content)


def _described(start: str, key: str) -> dict[str, Any]:
    kind, argument = split_start(start)
    if kind == "file":
        file = Path(argument).expanduser()
        return {"file": str(file), "sha256": _sha256(file)}
    if kind == "registry":
        _, folder = encoder_files.fetched(argument)
        file = folder / "weights.safetensors"
        config, images = read_json(folder / "config.json"), read_json(folder / "preprocess.json")
        return {
            **{"file": str(file), "sha256": _sha256(file), "origin": start},
            **{"backbone": config["backbone"], "stem": config.get("stem")},
            **{"mean": images["mean"], "std": images["std"]},
        }
    assert kind in PUBLIC
    file, about = cached(start), read_json(described(start))
    digest = _sha256(file)
    if digest != about["sha256"]:
        raise DataError(
            f"{key}: {file} is not what was fetched (SHA-256 {digest[:12]}… instead of"
            f" {about['sha256'][:12]}…): rootstock weights get {start}"
        )
    known = {key: about[key] for key in ABOUT if key in about}
    return {"file": str(file), **known, "backbone": network(start)}


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
