"""``rootstock suggest``: which registered encoder fits a data set, found without training anything.

Label-free: RankMe. With labels: LogME and leave-one-out retrieval on a few per class. Raw pixels
stand beside them: an encoder that does not beat them is no help.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flows.adapters.mlflow.store import Store
from flows.registry import versions
from flows.registry.versions import CLASSIFIER, ENCODER, ModelVersion
from flows.serving.images import Folder, Pool
from stages.core.errors import ConfigError, DataError
from stages.core.io import read_json
from stages.core.random import numpy_generator

if TYPE_CHECKING:
    from stages.core.metrics.transferability import Score

PIXELS = "raw pixels"
LABELS_PER_CLASS = 20
"""Few labels: more of them change the order of encoders little and cost much."""


@dataclass(frozen=True)
class Suggestion:
    """The encoders, the best first, and what the ranking rests on."""

    ranking: tuple[tuple[str, str, Score], ...]
    """Reference, what it is, scores."""
    images: int
    labelled: int
    classes: int
    left_out: tuple[str, ...]

    @property
    def rule(self) -> str:
        """What the order goes by."""
        few = f"LogME on {self.labelled} labelled images of {self.classes} classes"
        return (
            few
            if self.labelled
            else "RankMe: no labels; compare like with like, wide networks rank higher"
        )


def suggest(store: Store, folder: Path | None, images: int) -> Suggestion:
    """Score every registered encoder, and the encoder of every classifier with an alias, on a
    folder or the workspace's pool.

    Raises:
        ConfigError: nothing is registered, or no image can be read.
    """
    from stages.core.models.batch_inference import features_of_images, input_shape

    data = Folder(folder, images) if folder else Pool(images)
    scores: list[tuple[str, str, Score]] = []
    left_out = []
    seen = set()
    for version in encoders(store):
        channels, size = input_shape(version.artifact)
        try:
            pixels = data.pixels(size, channels)
        except DataError as error:
            left_out.append(f"{_name(version)}: {error}")
            continue
        if (size, channels) not in seen:
            seen.add((size, channels))
            plain = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
            scores.append(
                (PIXELS, f"{channels} × {size} × {size}", _few(plain, data.labels, data.classes))
            )
        features = features_of_images(version.artifact, pixels)
        scores.append((_name(version), _about(version), _few(features, data.labels, data.classes)))
    if not scores:
        reason = (
            left_out[0] if left_out else "no encoder is registered: rootstock run registers them"
        )
        raise ConfigError(reason)
    key = (
        (lambda row: row[2].logme)
        if any(row[2].logme is not None for row in scores)
        else (lambda row: row[2].rankme)
    )
    labelled = int((_thinned(data.labels) >= 0).sum()) if scores[0][2].logme is not None else 0
    return Suggestion(
        tuple(sorted(scores, key=key, reverse=True)),
        len(data.labels),
        labelled,
        data.classes,
        tuple(left_out),
    )


def encoders(store: Store) -> Iterator[ModelVersion]:
    """Every version of the encoder, and the classifiers that carry an alias; equal weights once."""
    seen = set()
    for name in (ENCODER, CLASSIFIER):
        for version in versions.every(store, name):
            if (name == ENCODER or version.aliases) and version.digest not in seen:
                seen.add(version.digest)
                yield version


def text(found: Suggestion) -> str:
    """The ranking as lines."""
    width = max(len(name) for name, _, _ in found.ranking)
    lines = [
        f"{found.images} images; ranked by {found.rule}",
        f"{'encoder':<{width}} {'LogME':>8} {'retrieval':>10} {'RankMe':>8}",
    ]
    for name, about, score in found.ranking:
        few = (
            f"{score.logme:>8.3f} {score.retrieval:>10.3f}"
            if score.logme is not None
            else f"{'':>8} {'':>10}"
        )
        lines.append(f"{name:<{width}} {few} {score.rankme:>8.1f}  {about}")
    best = found.ranking[0][0]
    lines.append(
        "raw pixels do best here: no registered encoder helps"
        if best == PIXELS
        else f"suggested: {best}"
    )
    return "\n".join([*lines, *(f"left out: {reason}" for reason in found.left_out)])


def as_json(found: Suggestion) -> str:
    """The ranking for other programs."""
    rows = [
        {"encoder": name, "about": about, **asdict(score)} for name, about, score in found.ranking
    ]
    head = {
        "images": found.images,
        "labelled": found.labelled,
        "rule": found.rule,
        "left_out": list(found.left_out),
    }
    return json.dumps({**head, "ranking": rows}, indent=2)


def _thinned(labels: np.ndarray) -> np.ndarray:
    """At most :data:`LABELS_PER_CLASS` labels of each class, the rest −1."""
    out = np.full_like(labels, -1)
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        chosen = numpy_generator(0, "suggest labels", int(label)).permutation(rows)[
            :LABELS_PER_CLASS
        ]
        out[chosen] = label
    return out


def _few(features: np.ndarray, labels: np.ndarray, classes: int) -> Score:
    from stages.core.metrics.transferability import score

    return score(features, _thinned(labels) if classes > 1 else None, classes)


def _name(version: ModelVersion) -> str:
    return f"{version.name}@{version.aliases[0] if version.aliases else version.number}"


def _about(version: ModelVersion) -> str:
    config = read_json(version.artifact / "config.json")
    made = version.tags.get("rootstock.path", "").removeprefix("models/")
    return ", ".join(
        filter(None, [made, config["backbone"], f"{config['num_features']} dimensions"])
    )
