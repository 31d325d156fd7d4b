"""A stage's ``dvc.lock`` entry in MLflow's own terms: parameters, dataset inputs by DVC hash,
logged models in and out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flows.adapters.dvc.lockfile import LockEntry
from flows.adapters.mlflow import long_tags
from flows.adapters.mlflow.store import (
    DIGEST,
    IDENTITY,
    INPUTS,
    OUTPUTS,
    PARENTS,
    STAGE,
    Store,
    flatten,
)

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, LoggedModelInput


def record(store: Store, run: str, entry: LockEntry, made_by: Mapping[str, str]) -> None:
    """Write a stage's ``dvc.lock`` entry into its run: parameters, identity, data and models in and
    out.

    Args:
        made_by: output path → id of the run that made it, for every input another stage made.
    """
    parents = {path: made for path in entry.dependencies if (made := maker(path, made_by))}
    tags = {
        STAGE: entry.stage,
        IDENTITY: entry.identity,
        **long_tags.written(INPUTS, entry.dependencies),
        **long_tags.written(OUTPUTS, entry.outputs),
        **long_tags.written(PARENTS, parents),
    }
    store.batch(run, params=flatten(entry.params), tags=tags)
    _inputs(store, run, entry, parents)
    _outputs(store, run, entry)


def model_of(store: Store, run: str, path: str, digest: str) -> str | None:
    """The id of the logged model a run put out at ``path``; None where somebody deleted it in
    MLflow's page.
    """
    from mlflow.exceptions import MlflowException

    outputs = store.client.get_run(run).outputs
    for output in outputs.model_outputs if outputs else []:
        try:
            tags = store.client.get_logged_model(output.model_id).tags
        except MlflowException:
            continue
        if tags.get("dvc.path") == path and tags.get(DIGEST) == digest:
            return str(output.model_id)
    return None


def maker(path: str, made_by: Mapping[str, str]) -> str | None:
    """The run that made a path, or the directory it lies in."""
    return next(
        (
            made_by[str(place)]
            for place in (Path(path), *Path(path).parents)
            if str(place) in made_by
        ),
        None,
    )


def is_model(path: str, digest: str) -> bool:
    """Whether an artifact is a model directory."""
    return path.startswith("models/") and digest.endswith(".dir")


def _inputs(store: Store, run: str, entry: LockEntry, parents: Mapping[str, str]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput

    datasets, models = [], []
    for path, digest in entry.dependencies.items():
        if path in parents and is_model(path, digest):
            models += [
                LoggedModelInput(model)
                for model in [model_of(store, parents[path], path, digest)]
                if model
            ]
        elif path in parents or path.endswith("fingerprint.json"):
            source = json.dumps({"uri": path})
            data = Dataset(name=path, digest=digest[:36], source_type="dvc", source=source)
            datasets.append(DatasetInput(data, [InputTag("mlflow.data.context", entry.stage)]))
    if datasets or models:
        _log_inputs(store, run, datasets, models)


def _log_inputs(
    store: Store, run: str, datasets: list[DatasetInput], models: list[LoggedModelInput]
) -> None:
    """MLflow looks a dataset up before it adds it, so of two that add one at once the second fails:
    it finds it next time.
    """
    from mlflow.exceptions import MlflowException

    for last in (False, False, False, True):
        try:
            store.client.log_inputs(run, datasets, models)
            return
        except MlflowException as error:
            if last or "unique" not in str(error).lower():
                raise


def _outputs(store: Store, run: str, entry: LockEntry) -> None:
    from mlflow.entities import LoggedModelOutput

    made = [
        _external_model(store, run, entry, path)
        for path, digest in entry.outputs.items()
        if is_model(path, digest)
    ]
    if made:
        store.client.log_outputs(run, [LoggedModelOutput(model, 0) for model in made])


def _external_model(store: Store, run: str, entry: LockEntry, path: str) -> str:
    """A logged model whose bytes DVC keeps."""
    tags = {
        "mlflow.model.isExternal": "true",
        DIGEST: entry.outputs[path],
        "dvc.path": path,
        IDENTITY: entry.identity,
    }
    model = store.client.create_logged_model(
        store.experiment, Path(path).name, run, tags, model_type=entry.stage
    )
    store.client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)
