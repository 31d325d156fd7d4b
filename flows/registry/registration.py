"""Registering a model: one digest is registered once, from code over safetensors, with what a
person wants to know beside it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flows.adapters.mlflow.store import Store
from flows.process.locks import lock
from flows.registry import versions
from flows.registry.packaging import DOCUMENTS, package
from flows.registry.versions import DIGEST, PATH, STAGE_RUN, ModelVersion
from stages.core import paths
from stages.core.io import read_json, write_text

LONGEST = 5000
"""Signs that MLflow keeps of a description."""
CARD = "model_card.md"


def register(
    store: Store,
    name: str,
    directory: Path,
    digest: str,
    run: str,
    tags: Mapping[str, str],
    documents: Mapping[str, str] | None = None,
) -> ModelVersion:
    """Register the model in ``directory`` under ``name``. Registers no digest twice.

    Args:
        digest: the DVC hash of the directory. run: the MLflow run of the stage that made it.
        documents: file name → text, kept inside the model; ``model_card.md`` is the version's
        description too.
    """
    from mlflow.entities import LoggedModelOutput

    known = versions.find(store, digest, name)
    if known:
        return known
    texts = dict(documents or {})
    kind = read_json(directory / "config.json")["kind"]
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / kind
        model = store.client.create_logged_model(
            store.experiment, kind, run, {"dvc.md5": digest}, model_type=kind
        )
        package(directory, saved, model.model_id, run, texts)
        store.client.log_model_artifacts(model.model_id, str(saved))
        store.client.finalize_logged_model(model.model_id, "READY")
        store.client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
    _ensure(store, name)
    marks = {
        DIGEST: digest,
        STAGE_RUN: run,
        PATH: str(directory),
        "rootstock.model_id": model.model_id,
        **tags,
    }
    source = store.client.get_logged_model(model.model_id).artifact_location
    card = texts.get(CARD, "")[:LONGEST] or None
    made = store.client.create_model_version(
        name, source, run, tags=marks, model_id=model.model_id, description=card
    )
    return versions.get(store, name, str(made.version))


def attach(version: ModelVersion, documents: Mapping[str, str]) -> None:
    """Put more documents into a registered model; they replace those of the same name, the weights
    stay as they are.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in documents.items():
            write_text(Path(folder) / DOCUMENTS / name, text)
        version.store.client.log_model_artifacts(version.model_id, folder)


def describe(version: ModelVersion, card: str) -> None:
    """What the model's page in MLflow says."""
    version.store.client.update_model_version(version.name, version.number, card[:LONGEST])


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the lock under which aliases move on this machine."""
    paths.STATE.mkdir(exist_ok=True)
    with lock(paths.STATE / "promotion.lock"):
        yield


def _ensure(store: Store, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        store.client.get_registered_model(name)
    except MlflowException:
        store.client.create_registered_model(name)
