"""The inputs of an evaluation: which rows, which models, and what classifiers are trained with."""

from __future__ import annotations

import numpy as np

from stages.core import paths
from stages.core.budget import resolve_budget
from stages.core.data.manifest import Manifest
from stages.core.errors import DataError
from stages.core.image.pixel_store import PixelStore
from stages.core.image.views.geometric import supervised_views
from stages.core.image.views.policy import Policy
from stages.core.io import read_json
from stages.core.models.artifact import CONFIG, Classifier, Encoder, load_classifier, load_encoder
from stages.core.params import Params
from stages.core.random import numpy_generator
from stages.core.transfer.finetune import Examples, Task, Tuned
from stages.core.transfer.propagation import LARGEST
from stages.core.transfer.supervised import labelled
from stages.evaluate.evaluation import Inputs
from stages.evaluate.ladder import Rows, Truth
from stages.evaluate.subsets import spread


def load_models() -> tuple[dict[str, Encoder], Classifier, Policy]:
    """The encoders there are (student, control and start may not exist), the classifier and the
    view policy.
    """
    encoders = {"pretrained": load_encoder(paths.PRETRAINED)}
    distilled = load_encoder(paths.DISTILLED)
    if distilled.config.get("student", True):
        encoders["distilled"] = distilled
    if read_json(paths.CONTROL / CONFIG).get("kind") == "encoder":
        encoders["control"] = load_encoder(paths.CONTROL)
    if read_json(paths.START_ENCODER / CONFIG).get("kind") == "encoder":
        encoders["start"] = load_encoder(paths.START_ENCODER)
    return encoders, load_classifier(paths.FINETUNED), Policy.read(paths.POLICY)


def assemble(
    params: Params,
    manifest: Manifest,
    store: PixelStore,
    encoders: dict[str, Encoder],
    classifier: Classifier,
    policy: Policy,
) -> Inputs:
    """Choose the rows, at most ``evaluate.max_images`` of each split.

    Raises:
        ConfigError: a split without labelled images.
        DataError: a classifier that was trained for other classes.
    """
    if classifier.classes != manifest.classes:
        raise DataError(
            f"{paths.FINETUNED} was trained for other classes than the manifest has: run finetune"
            " again"
        )
    parts = {}
    for split in ("train", "val", "test"):
        all_of_it, labels = labelled(manifest, split, at_least_classes=2 if split == "train" else 1)
        parts[split] = spread(all_of_it, labels, params.evaluate.max_images, params.seed)
    rows = Rows(parts["train"], parts["val"], parts["test"])
    truth = Truth(
        manifest.labels(rows.train),
        manifest.labels(rows.validation),
        manifest.labels(rows.test),
        len(manifest.classes),
    )
    budget = resolve_budget(params.budget, store.shape[-1])
    task = Task(
        Examples(store.gather(rows.train), truth.train),
        Examples(store.gather(rows.validation), truth.validation),
        truth.classes,
        encoders["pretrained"].preprocess,
        supervised_views(policy),
        params.finetune,
        budget.passes,
        budget.steps,
        params.seed,
        Tuned(**classifier.config["tuned"]),
    )
    own = params.evaluate
    draws = budget.draws if isinstance(own.finetune_draws, str) else own.finetune_draws
    scratch = load_classifier(paths.SCRATCH)
    pool = np.setdiff1d(manifest.pretraining_rows(), manifest.labelled_rows("train"))
    if len(pool) > LARGEST:
        pool = np.sort(numpy_generator(params.seed, "unlabelled").choice(pool, LARGEST, False))
    return Inputs(store, rows, truth, encoders, classifier, scratch, task, own, draws, pool)
