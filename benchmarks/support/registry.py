"""A real SQLite store with real registered classifiers, made without training: what promotion,
lineage and serving work on.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from flows.adapters.dvc.hashes import hash_of
from flows.adapters.dvc.lockfile import LockEntry
from flows.adapters.mlflow.lineage_records import record
from flows.adapters.mlflow.store import Store
from flows.registry import aliases, versions
from flows.registry.registration import register
from flows.registry.versions import CHAMPION, CLASSIFIER, ModelVersion
from stages.core.io import read_json, write_json

CHAIN = (
    ("ingest", [".rootstock/fingerprint.json"], ["data/pool"]),
    ("validate", ["data/pool"], ["metrics/validate.json"]),
    ("curate", ["data/pool", "metrics/validate.json"], ["data/curated/manifest.parquet"]),
    (
        "augment",
        ["data/pool", "data/curated/manifest.parquet"],
        ["models/augmentation/policy.yaml"],
    ),
    (
        "pretrain",
        ["data/pool", "data/curated/manifest.parquet", "models/augmentation/policy.yaml"],
        ["models/pretrained"],
    ),
    (
        "distill",
        ["data/pool", "data/curated/manifest.parquet", "models/pretrained"],
        ["models/distilled"],
    ),
    (
        "finetune",
        ["data/pool", "data/curated/manifest.parquet", "models/pretrained", "models/distilled"],
        ["models/finetuned", "models/scratch"],
    ),
    ("evaluate", ["data/pool", "models/finetuned", "models/scratch"], ["reports/evaluate"]),
)
IMAGES = 400
CLASSES = ("cat", "dog")


def classifier(directory: Path, seed: int = 0, size: int = 16) -> Path:
    """A small real classifier artifact with drawn weights."""
    import torch

    from stages.core.image.backbones import create_backbone
    from stages.core.image.preprocess import Preprocess
    from stages.core.models.artifact import LinearClassifier, save_model
    from stages.core.random import generator

    network = LinearClassifier(create_backbone("test_resnet", 1, size, seed), len(CLASSES))
    with torch.no_grad():
        network.head.weight.copy_(
            torch.randn(network.head.weight.shape, generator=generator(seed, "head"))
        )
    preprocess = Preprocess(size=size, channels=1, mean=(0.5,), std=(0.25,))
    save_model(directory, network, {"method": "test", "classes": list(CLASSES)}, preprocess)
    return directory


def encoder(directory: Path, seed: int = 0, size: int = 16) -> Path:
    """A small real encoder artifact with drawn weights."""
    from stages.core.image.backbones import create_backbone
    from stages.core.image.preprocess import Preprocess
    from stages.core.models.artifact import save_model

    preprocess = Preprocess(size=size, channels=1, mean=(0.5,), std=(0.25,))
    backbone = create_backbone("test_resnet", 1, size, seed)
    save_model(directory, backbone, {"method": "test"}, preprocess)
    return directory


def digest(*words: object) -> str:
    """A stand-in for a DVC hash."""
    import hashlib

    return hashlib.md5(" ".join(map(str, words)).encode(), usedforsecurity=False).hexdigest()


def entry(
    stage: str,
    inputs: list[str],
    outputs: list[str],
    mark: str,
    known: Mapping[str, str] | None = None,
) -> LockEntry:
    """A lock entry; ``mark`` stands for everything that makes this execution differ from another,
    ``known`` are true hashes.
    """

    def hashed(path: str) -> str:
        return (known or {}).get(path) or digest(path, mark) + (
            ".dir" if "." not in Path(path).name else ""
        )

    everything = [*inputs, *outputs]
    return LockEntry(
        stage=stage,
        command=f"python -m stages.{stage}",
        dependencies={path: hashed(path) for path in inputs},
        outputs={path: hashed(path) for path in outputs},
        sizes=dict.fromkeys(everything, 1),
        params={"seed": 0, stage: {"steps": 3}},
        identity=digest(stage, mark),
    )


def chain(store: Store, mark: str, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Runs of all eight stages; returns output path → run."""
    made_by: dict[str, str] = {}
    for stage, inputs, outputs in CHAIN:
        run = store.start(stage, None, {"git.commit": "c" * 40, "git.dirty": "false"})
        found = entry(stage, inputs, outputs, mark, known)
        record(store, run, found, made_by)
        store.end(run, "FINISHED")
        made_by.update(dict.fromkeys(outputs, run))
    return made_by


def answers(
    accuracy: float, seed: int = 0, images: int = IMAGES, wrong: str = "spread"
) -> pd.DataFrame:
    """Predictions with this share right; ``wrong`` says where the wrong ones lie: spread out or all
    in one class.
    """
    labels = np.array(list(itertools.islice(itertools.cycle(CLASSES), images)), dtype=object)
    order = (
        np.random.default_rng(seed).permutation(images)
        if wrong == "spread"
        else np.argsort(labels != wrong, kind="stable")
    )
    bad = order[: round(images * (1 - accuracy))]
    predicted = labels.copy()
    predicted[bad] = np.where(labels[bad] == "cat", "dog", "cat")
    confidence = np.where(predicted == labels, 0.9, 0.6)
    shares = [
        [c, 1 - c] if p == "cat" else [1 - c, c] for p, c in zip(predicted, confidence, strict=True)
    ]
    ids = [digest("image", number) for number in range(images)]
    return pd.DataFrame(
        {
            "id": ids,
            "label": labels,
            "predicted": predicted,
            "probabilities": shares,
            "group": labels,
        }
    )


def version(store: Store, directory: Path, mark: str, table: pd.DataFrame) -> ModelVersion:
    """Register a copy of a classifier, marked, with a whole chain behind it and these answers on
    the test images.
    """
    own = directory.with_name(f"{directory.name}-{mark}")
    shutil.copytree(directory, own)
    write_json(own / "config.json", {**read_json(own / "config.json"), "method": mark})
    found = hash_of(own)
    made_by = chain(store, mark, {"models/finetuned": found})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.parquet"
        table.to_parquet(file)
        store.client.log_artifact(made_by["reports/evaluate"], str(file), "reports/evaluate")
    tags = {versions.EVALUATION: made_by["reports/evaluate"]}
    return register(
        store,
        CLASSIFIER,
        own,
        found,
        made_by["models/finetuned"],
        tags,
        {"model_card.md": f"# {mark}"},
    )


def get(store: Store, number: int) -> ModelVersion:
    """A version by its number."""
    return versions.get(store, CLASSIFIER, str(number))


def crown(store: Store, number: int) -> None:
    """Make a version champion, whatever the gates would say."""
    aliases.promote_alias(
        get(store, number), versions.by_alias(store, CHAMPION), {"rootstock.promoted_why": "test"}
    )
