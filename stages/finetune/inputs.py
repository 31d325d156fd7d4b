"""Inputs of fine-tuning: encoders worth using, an untrained network, the labelled images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from stages.core import paths
from stages.core.budget import resolve_budget
from stages.core.data.manifest import Manifest
from stages.core.image.backbones import create_backbone
from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.geometric import supervised_views
from stages.core.image.views.policy import Policy
from stages.core.models.artifact import Encoder, load_encoder
from stages.core.params import Params
from stages.core.random import address, numpy_generator
from stages.core.transfer.context import Features
from stages.core.transfer.finetune import Examples, Task
from stages.core.transfer.propagation import LARGEST
from stages.core.transfer.supervised import labelled

UNTRAINED = "untrained"
"""Address of the weights that training from labels alone starts with."""


def encoders_to_use(candidates: Sequence[str]) -> dict[str, Encoder]:
    """Return the pretrained encoder and the distilled one, less what pretraining or distillation
    found to be no use.
    """
    found = {}
    pretrained = load_encoder(paths.PRETRAINED)
    if pretrained.config.get("useful", True) or "scratch" not in candidates:
        found["pretrained"] = pretrained
        distilled = load_encoder(paths.DISTILLED)
        if distilled.config.get("student", True):
            found["distilled"] = distilled
    return found


def untrained(seed: int) -> Encoder:
    """Return the architecture of the pretrained encoder with random weights."""
    like = load_encoder(paths.PRETRAINED)
    body = like.backbone
    backbone = create_backbone(
        body.name, body.channels, body.size, address(seed, UNTRAINED), body.stem
    )
    return Encoder(backbone, like.preprocess, {"method": UNTRAINED})


def assemble(
    params: Params, manifest: Manifest, store: PixelStore, policy: Policy, preprocess: Preprocess
) -> tuple[Task, np.ndarray]:
    """Return the task and the rows of its training images.

    Raises:
        ConfigError: no labelled images in a split, or a single class.
    """
    budget = resolve_budget(params.budget, preprocess.size)
    rows, labels = labelled(manifest, "train", at_least_classes=2)
    held, held_labels = labelled(manifest, "val")
    task = Task(
        Examples(store.gather(rows), labels),
        Examples(store.gather(held), held_labels),
        len(manifest.classes),
        preprocess,
        supervised_views(policy),
        params.finetune,
        budget.passes,
        budget.steps,
        params.seed,
    )
    return task, rows


def unlabelled_images(manifest: Manifest, store: PixelStore, seed: int) -> Tensor:
    """Return training images without a label (n, C, H, W), a seeded sample of them where they are
    many.
    """
    rows = np.setdiff1d(manifest.pretraining_rows(), manifest.labelled_rows("train"))
    if len(rows) > LARGEST:
        rows = numpy_generator(seed, "unlabelled").choice(rows, LARGEST, replace=False)
    return store.gather(np.sort(rows))


def features_of(encoder: Encoder, task: Task, unlabelled: Tensor) -> Features:
    """Encode the labelled images and unlabelled ones (n, C, H, W)."""
    parts = (task.train.images, task.validation.images, unlabelled)
    return Features(*(encoder.encode(images).numpy() for images in parts))
