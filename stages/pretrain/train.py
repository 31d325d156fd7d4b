"""Pretraining as one call: a backbone, an objective, images; out comes the trained backbone and its
history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from stages.core.budget import resolve_budget
from stages.core.data.manifest import Manifest
from stages.core.events import Tracker
from stages.core.image.backbones import Backbone, create_backbone
from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.engine import ViewEngine
from stages.core.image.views.policy import Policy
from stages.core.models.start import Start
from stages.core.params import Params
from stages.core.starts import NO_METHOD
from stages.core.training import distributed, sharding
from stages.core.training.batches import Pixels, ViewBatches
from stages.core.training.checkpoint import Identity, Resume, digest
from stages.core.training.loop import History, Stop, fit
from stages.core.transfer.forecast import count_passes, measure_speed, sentence
from stages.pretrain.method import check_settings, method_class
from stages.pretrain.probe import Probe, as_pixels
from stages.pretrain.recipe import batch_size, probe_cost, recipe
from stages.pretrain.start import begin, told

HALFWAY = 0.5
ADVICE = (
    "the encoder is no better than raw pixels (kNN on validation), so the pipeline goes on without"
    " it; more images, another pretrain.method, augment.policy or budget=thorough may help"
)
COLLAPSED = 0.1
"""Spread of features below which an encoder says the same of every image."""


@dataclass(frozen=True)
class Data:
    """What is trained on and looked at: rows of a store, a policy, the preprocessing measured on
    those rows.
    """

    manifest: Manifest
    store: PixelStore
    rows: np.ndarray
    policy: Policy
    preprocess: Preprocess

    @classmethod
    def of(cls, manifest: Manifest, store: PixelStore, policy: Policy) -> Data:
        """All rows that pretraining may see."""
        rows = manifest.pretraining_rows()
        return cls(manifest, store, rows, policy, Preprocess.from_pixels(store, rows))

    @property
    def ids(self) -> list[str]:
        """Content hashes of the images, in order."""
        ids: list[str] = self.manifest.frame["id"].iloc[self.rows].tolist()
        return ids

    def hashes(self) -> dict[str, str]:
        """What a checkpoint's input hash is made of."""
        return {
            "images": digest(self.ids),
            "policy": digest(self.policy.model_dump(mode="json")),
            "shape": str(self.store.shape[1:]),
        }


@dataclass(frozen=True)
class Trained:
    """An encoder and what happened on the way; ``config`` goes into the artifact."""

    backbone: Backbone
    history: History
    config: dict[str, Any]
    metrics: dict[str, Any]
    resume: Resume


def pretrain(
    name: str,
    settings: Mapping[str, Any],
    data: Data,
    params: Params,
    track: Tracker,
    label: str,
    start: Start | None = None,
) -> Trained:
    """Train ``params.pretrain.backbone`` with the objective ``name``; ``label`` tells the runs of a
    stage apart. ``start``: weights to begin with instead of random ones.
    """
    own = params.pretrain
    kind = method_class(name)
    chosen = check_settings(kind, settings)
    size = batch_size(own, len(data.rows), distributed.world())
    create = network(data, params)
    backbone = create()
    begun = begin(backbone, start, own) if start else {}
    if label == "pretrained" and begun and distributed.rank() == 0:
        print("\n".join(told(begun)))
    module = kind(backbone, chosen, len(data.rows), params.seed)
    if "labels" in kind.needs:
        module.learn_labels(torch.from_numpy(data.manifest.labels(data.rows)))
    if own.sync_batchnorm:
        distributed.synchronised(module)
    engine = ViewEngine(data.policy, module.views, data.preprocess)
    batches = ViewBatches(Pixels(data.store, data.rows), engine, size, params.seed, data.ids)
    probe = Probe.of(data.manifest, data.store, params.seed)
    cost = probe_cost(probe.images, module.views)
    plan = recipe(own, params.seed, batches.size, batches.steps_per_epoch, label, cost)
    resolved = {
        **asdict(plan),
        "batch_size": size,
        "method": name,
        "settings": chosen.model_dump(mode="json"),
        "backbone": own.backbone,
        **({"start": begun["name"], "start.sha256": begun["sha256"]} if begun else {}),
    }
    track.params({f"{label}.{key}": value for key, value in resolved.items()})
    resume = Resume(Identity(resolved, data.hashes()))
    raw = probe.knn(as_pixels)
    look = probe.of_backbone(backbone, data.preprocess)
    stop = hopeless(raw) if label == "pretrained" else None
    history = fit(module, batches, plan, resume, track, look, stop)
    if history.stopped:
        print(f"{label}: stopped early, {history.stopped}")
    backbone = sharding.assembled(backbone, create)
    config = {
        key: resolved[key] for key in ("method", "settings", "batch_size", "learning_rate", "steps")
    }
    config |= {
        "paper": kind.paper,
        "epochs": own.epochs,
        "seed": params.seed,
        "images": len(data.rows),
        "useful": raw is None or (history.rows[-1].get("knn") or 0.0) > raw,
        **({"start": begun} if begun else {}),
    }
    return Trained(backbone, history, config, _metrics(name, history, backbone), resume)


def unchanged(data: Data, params: Params, track: Tracker, start: Start) -> Trained:
    """Measure the start weights as they are: what ``pretrain.method: none`` asks for."""
    own = params.pretrain
    backbone = network(data, params)()
    begun = begin(backbone, start, own)
    print("\n".join(told(begun)))
    track.params({"pretrained.method": NO_METHOD, "pretrained.backbone": own.backbone})
    track.params({"pretrained.start": begun["name"], "pretrained.start.sha256": begun["sha256"]})
    probe = Probe.of(data.manifest, data.store, params.seed)
    found, raw = probe.of_backbone(backbone, data.preprocess)(), probe.knn(as_pixels)
    history = History(rows=[{"step": 0, **found}])
    config = {
        **{"method": NO_METHOD, "settings": {}, "steps": 0, "epochs": 0, "seed": params.seed},
        **{"images": len(data.rows), "start": begun},
        "useful": raw is None or (found.get("knn") or 0.0) > raw,
    }
    resume = Resume(Identity({"method": NO_METHOD, "start": begun["sha256"]}, data.hashes()))
    return Trained(backbone, history, config, _metrics(NO_METHOD, history, backbone), resume)


def network(data: Data, params: Params) -> Callable[[], Backbone]:
    """Return what builds the backbone of a run with random weights."""
    own, images = params.pretrain, data.preprocess
    return partial(
        create_backbone, own.backbone, images.channels, images.size, params.seed, own.stem
    )


def time_to_the_end(data: Data, params: Params) -> str:
    """Return how long the rest of the run will take on this machine, from a second of training."""
    images, own = data.preprocess, params.pretrain
    assert isinstance(own.epochs, int), "auto is resolved before a forecast is made"
    labels = np.bincount(data.manifest.labels(data.manifest.labelled_rows("train")))
    passes = count_passes(
        resolve_budget(params.budget, images.size),
        own.epochs * (1 if own.control is None else 2),
        len(data.rows),
        labels.tolist(),
    )
    speed = measure_speed(network(data, params)(), images.channels, images.size)
    return sentence(passes, speed)


def hopeless(raw: float | None) -> Stop:
    """Return what ends a run that, halfway or later, is no better than raw pixels by kNN on
    validation.
    """

    def stop(found: Mapping[str, float | None], progress: float) -> str | None:
        knn = found.get("knn")
        if raw is None or knn is None or progress < HALFWAY or knn > raw:
            return None
        return (
            f"kNN on validation is {knn:.3f} at {progress:.0%} of the steps and"
            f" {raw:.3f} on raw pixels"
        )

    return stop


def _metrics(name: str, history: History, backbone: Backbone) -> dict[str, Any]:
    last = history.rows[-1]
    told = ("loss", "knn", "rankme", "feature_variance", "embedding_std", "attention_entropy")
    kept: dict[str, Any] = {key: last[key] for key in told if key in last}
    variance, rank = last.get("feature_variance"), last.get("rankme")
    collapsed = (variance is not None and variance < COLLAPSED**2) or (
        rank is not None and rank < 1.5
    )
    return {
        "method": name,
        **kept,
        "collapsed": collapsed,
        "parameters": backbone.parameter_count,
        **history.counts,
    }
