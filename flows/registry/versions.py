"""Registered versions and the names that point at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flows.adapters.dvc import cache
from flows.adapters.mlflow import long_tags
from flows.adapters.mlflow.store import OUTPUTS, Store
from stages.core import paths
from stages.core.errors import ConfigError

CLASSIFIER, ENCODER = "rootstock-classifier", "rootstock-encoder"
FROZEN_BEST, FINETUNE_BEST = "frozen-best", "finetune-best"
CHAMPION, CANDIDATE, PREVIOUS = "champion", "candidate", "previous"
DIGEST = "rootstock.digest"
STAGE_RUN = "rootstock.run"
PATH = "rootstock.path"
EVALUATION = "rootstock.evaluation"
FORGOTTEN = "rootstock.trained_on_forgotten"
"""Ids of forgotten images the version was trained on."""
PREDICTIONS = "reports/evaluate/predictions.parquet"
EMBEDDINGS = "reports/evaluate/embeddings.parquet"


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model, with its aliases, which MLflow's search leaves out."""

    store: Store
    name: str
    number: str
    tags: dict[str, str]
    aliases: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name used in messages, e.g. ``version 3``."""
        return f"version {self.number}"

    @property
    def digest(self) -> str:
        """The DVC hash of the model directory it was registered from."""
        return self.tags.get(DIGEST, "")

    @property
    def stage_run(self) -> str:
        """The MLflow run of the stage that made the model."""
        return self.tags.get(STAGE_RUN, "")

    @property
    def model_id(self) -> str:
        """The logged model behind it."""
        return self.tags.get("rootstock.model_id", "")

    @cached_property
    def folder(self) -> Path:
        """The model's own files, fetched once where the store is remote."""
        from mlflow.artifacts import download_artifacts

        return Path(download_artifacts(artifact_uri=f"models:/{self.name}/{self.number}"))

    @property
    def artifact(self) -> Path:
        """The directory with the weights, as the stage wrote it."""
        return next(self.folder.glob("artifacts/*/weights.safetensors")).parent

    def evaluation_file(self, name: str) -> Path | None:
        """A file of the evaluation's run, such as ``reports/evaluate/predictions.parquet``; None
        where there is none.

        What was too large for the store is taken from DVC's cache.
        """
        from mlflow.exceptions import MlflowException

        run = self.tags.get(EVALUATION)
        if not run:
            return None
        try:
            return Path(self.store.client.download_artifacts(run, name))
        except (MlflowException, OSError):
            facts = self.store.facts.run(run)
            return cache.cached_file(long_tags.read(facts.tags, OUTPUTS), name) if facts else None

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags on the version."""
        for key, value in tags.items():
            self.store.client.set_model_version_tag(self.name, self.number, key, str(value))
        self.tags.update(tags)


@dataclass(frozen=True)
class Unregistered(ModelVersion):
    """The model of the workspace as a version that does not exist yet: gates can look at it,
    nothing is written.
    """

    directory: Path = paths.FINETUNED

    @property
    def title(self) -> str:
        """Name used in messages, e.g. ``version 3``."""
        return "the classifier of the workspace"

    @cached_property
    def folder(self) -> Path:
        """The stage's own output."""
        return self.directory

    @property
    def artifact(self) -> Path:
        """The directory with the weights."""
        return self.directory


def aliases(store: Store, name: str = CLASSIFIER) -> dict[str, str]:
    """Alias → version number; empty where nothing is registered."""
    return store.facts.aliases(name)


def get(store: Store, name: str, which: str) -> ModelVersion:
    """The version with this number or alias.

    Raises:
        ConfigError: there is no such model, version or alias; the message names what there is.
    """
    known = aliases(store, name)
    number = known.get(which, which)
    tags = store.facts.version_tags(name, number)
    if tags is None:
        raise ConfigError(_missing(store, name, which, known))
    names = tuple(alias for alias, points_at in sorted(known.items()) if points_at == number)
    return ModelVersion(store, name, number, tags, names)


def parse(reference: str) -> tuple[str, str]:
    """``MODEL@ALIAS`` or ``MODEL@VERSION`` (also with ``/``); the name alone means the champion."""
    name, sign, which = reference.removeprefix("models:/").replace("/", "@", 1).partition("@")
    if not name or (sign and not which):
        raise ConfigError(
            f"{reference!r} names no model: write MODEL@ALIAS, for example {CLASSIFIER}@{CHAMPION}"
        )
    return name, which or CHAMPION


def resolve(store: Store, reference: str) -> ModelVersion:
    """The version a reference such as ``rootstock-classifier@champion`` names."""
    return get(store, *parse(reference))


def by_alias(store: Store, alias: str, name: str = CLASSIFIER) -> ModelVersion | None:
    """The version an alias points at, if any."""
    number = aliases(store, name).get(alias)
    return get(store, name, number) if number else None


def find(store: Store, digest: str, name: str = CLASSIFIER) -> ModelVersion | None:
    """The version registered from this digest, if any."""
    return next((version for version in every(store, name) if version.digest == digest), None)


def every(store: Store, name: str) -> list[ModelVersion]:
    """All versions of a model, the newest first."""
    by_number: dict[str, list[str]] = {}
    for alias, number in sorted(aliases(store, name).items()):
        by_number.setdefault(number, []).append(alias)
    found = store.facts.versions(name).items()
    made = [
        ModelVersion(store, name, number, tags, tuple(by_number.get(number, ())))
        for number, tags in found
    ]
    return sorted(made, key=lambda version: int(version.number), reverse=True)


def _missing(store: Store, name: str, which: str, known: Mapping[str, str]) -> str:
    models = sorted(model.name for model in store.client.search_registered_models())
    if name not in models:
        there = (
            f"there is {', '.join(models)}"
            if models
            else "nothing is registered yet: rootstock run registers the first"
        )
        return f"no registered model is called {name!r}; {there}"
    there = ", ".join(f"{alias} → {number}" for alias, number in sorted(known.items())) or "none"
    numbers = sorted(map(int, store.facts.versions(name)))
    which_are = (
        f"{len(numbers)} from {numbers[0]} to {numbers[-1]}"
        if len(numbers) > 5
        else ", ".join(map(str, numbers)) or "none"
    )
    return f"{name} has no version or alias {which!r}; versions: {which_are}; aliases: {there}"
