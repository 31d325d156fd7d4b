"""``rootstock export``: a registered classifier or encoder for programs that know nothing of this
project.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from flows.adapters.mlflow.store import Store
from flows.registry import versions
from flows.registry.versions import ModelVersion
from stages.core.errors import ConfigError, nearest
from stages.core.io import read_json

if TYPE_CHECKING:
    from stages.core.models.export import Exportable

FORMATS = ("onnx", "torch", "timm")


def export(reference: str, form: str, target: Path) -> str:
    """Write the version a reference names; returns a line that says what it takes and gives.

    Raises:
        ConfigError: no such format or version, a missing package, or a target that cannot be
            written.
    """
    if form not in FORMATS:
        raise ConfigError(
            f"--format {form}: {nearest(form, list(FORMATS))}choose from {', '.join(FORMATS)}"
        )
    if target.is_dir() and form != "timm":
        raise ConfigError(f"{target} is a folder: {form} is one file, name it")
    version = versions.resolve(Store.open(), reference)
    model = load(version)
    from stages.core.models import export as writers

    writers_by_form = {
        "onnx": writers.export_onnx,
        "torch": writers.export_torch,
        "timm": writers.export_timm,
    }
    with warnings.catch_warnings():  # torch's exporter warns about its own insides
        warnings.simplefilter("ignore", FutureWarning)
        writers_by_form[form](model, target)
    preprocess = model.preprocess
    shape = f"(N, {preprocess.channels}, {preprocess.size}, {preprocess.size})"
    if form == "timm":
        return (
            f"{target}: {version.name} version {version.number}; load.py in it needs timm and"
            " safetensors alone"
        )
    return (
        f"{target}: {version.name} version {version.number}, uint8 images {shape} in,"
        f" {writers.answer_name(model)} out"
    )


def load(version: ModelVersion) -> Exportable:
    """The model of a version, as it was evaluated."""
    from stages.core.models.artifact import CONFIG, load_classifier, load_encoder

    kind = read_json(version.artifact / CONFIG)["kind"]
    return (
        load_classifier(version.artifact)
        if kind == "classifier"
        else load_encoder(version.artifact)
    )
