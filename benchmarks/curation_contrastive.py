"""Are 60 % of the images, chosen by contrastive_subset (two proxy encoders), worth more to SimCLR
than 60 % drawn by lot?
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.curation_pool import extracted, ingest, params_with, unlabelled, workplace
from stages.augment.resolve import resolve
from stages.core import compute
from stages.core.data.manifest import Manifest
from stages.core.events import Tracker
from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.metrics.representation import embed, knn_predict
from stages.core.models.artifact import Encoder
from stages.core.random import numpy_generator
from stages.curate.curation import Curation
from stages.curate.operators import budget, contrastive_subset
from stages.pretrain.train import Data, pretrain

SEEDS, SHARE, NEIGHBOURS = 3, 0.6, 20
T_95 = 4.303
"""Student's t for three pairs."""


def digits(scratch: Path) -> None:
    """kNN on held-out digits after the same number of steps, three seeds; small pictures, as it
    takes nine trainings.
    """
    compute.deterministic()
    with workplace(scratch, "contrastive-digits"):
        _compare("digits", *ingest("digits", store_size=8), images=1200, epochs=60)


def photographs(scratch: Path) -> None:
    """The same on CIFAR-10."""
    compute.deterministic()
    cifar = extracted("cifar10", scratch)
    with workplace(scratch, "contrastive-cifar"):
        _compare(
            "cifar10", *ingest(f"folder:{cifar / 'test'}", store_size=16), images=4000, epochs=11
        )


def _compare(name: str, manifest: Manifest, store: PixelStore, images: int, epochs: int) -> None:
    order = numpy_generator(0, "contrastive").permutation(np.flatnonzero(manifest.ok))
    train, test = np.sort(order[:images]), np.sort(order[images : images + 2000])
    labels = manifest.labels(np.arange(len(manifest)))
    seen = np.isin(np.arange(len(manifest)), train)
    pool = unlabelled(manifest, seen)
    policy = resolve("auto", store.shape[1], store.shape[-1])
    ways = {"scattering": contrastive_subset, "self": contrastive_subset, "random": budget}
    scores: dict[str, list[float]] = {way: [] for way in ways}
    for seed in range(SEEDS):
        for way, operator in ways.items():
            curation = Curation(pool, store, "pixels" if way == "random" else way, SHARE, seed)
            operator.apply(curation, operator.Settings())
            rows = np.flatnonzero(curation.keep)
            data = Data(pool, store, rows, policy, Preprocess.from_pixels(store, train))
            params = params_with(
                pretrain={"epochs": epochs, "batch_size": 128, "probe_every": epochs}
            )
            params = params.model_copy(update={"seed": seed})
            with Tracker("pretrain") as track:
                trained = pretrain("simclr", {}, data, params, track, f"{name} {way} {seed}")
            encoder = Encoder(trained.backbone, data.preprocess, {})
            trained.resume.clear()
            bank, queries = embed(encoder, store, train), embed(encoder, store, test)
            scores[way].append(
                float(
                    (knn_predict(bank, labels[train], queries, NEIGHBOURS) == labels[test]).mean()
                )
            )
            print(
                f"contrastive: {name}, seed {seed}, {way}: {len(rows):,} images, kNN"
                f" {scores[way][-1]:.4f}",
                flush=True,
            )
    for way in ("scattering", "self"):
        differences = np.array(scores[way]) - np.array(scores["random"])
        half = T_95 * differences.std(ddof=1) / len(differences) ** 0.5
        print(
            f"contrastive: {name}: chosen by {way} {np.mean(scores[way]):.4f}, random"
            f" {np.mean(scores['random']):.4f}, difference {differences.mean():+.4f} ± {half:.4f}"
            " (95 %)",
            flush=True,
        )
