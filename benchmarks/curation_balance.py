"""Does balance even out classes nobody named? Class entropy of what it keeps, beside a random
sample of the same size.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from benchmarks.curation_pool import extracted, ingest, unlabelled, workplace
from stages.augment.resolve import resolve
from stages.augment.symmetry import Symmetry
from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.image.backbones import create_backbone
from stages.core.image.pixel_store import PixelStore
from stages.core.image.preprocess import Preprocess
from stages.core.image.views.geometric import light
from stages.core.io import write_json
from stages.core.models.artifact import save_model
from stages.core.random import numpy_generator
from stages.core.training.loop import Recipe
from stages.core.transfer.supervised import LabelledBatches, train, with_head
from stages.curate.curation import Curation
from stages.curate.operators import balance as operator
from stages.curate.operators import budget

SEEDS = 5
TAUGHT = "registry:taught@others"


def digits(scratch: Path) -> None:
    """Ten digits at 100:1, by what needs no labels and by an encoder that was taught the classes on
    other digits.
    """
    with workplace(scratch, "balance-digits"):
        manifest, store = ingest("digits")
        truth = manifest.frame["label"].to_numpy(str)
        sizes = dict(zip("0123456789", np.geomspace(170, 2, 10).round().astype(int), strict=True))
        _teach(manifest, store, truth, _drawn(truth, sizes))
        for encoder in ("pixels", "scattering", "self", TAUGHT):
            _compare("digits", manifest, store, truth, sizes, 60, encoder)


def shapes(scratch: Path) -> None:
    """Five rendered shapes at 100:1: colour and background vary more than shape does."""
    with workplace(scratch, "balance-shapes"):
        manifest, store = ingest("synthetic:images=3000,imbalance=100")
        truth = manifest.frame["label"].to_numpy(str)
        names, counts = np.unique(truth, return_counts=True)
        for encoder in ("pixels", "scattering"):
            _compare(
                "shapes",
                manifest,
                store,
                truth,
                dict(zip(names.tolist(), counts.tolist(), strict=True)),
                100,
                encoder,
            )


def kinds(scratch: Path) -> None:
    """Photographs, digits and rendered shapes at 100:10:1."""
    cifar = extracted("cifar10", scratch)
    with workplace(scratch, "balance-kinds"):
        source = [
            {"from": f"folder:{cifar / 'test'}", "name": "objects"},
            {"from": "synthetic:images=1000", "name": "shapes"},
            {"from": "digits"},
        ]
        manifest, store = ingest(source, store_size=32, channels=3)
        truth = manifest.frame["source"].to_numpy(str)
        for encoder in ("pixels", "scattering"):
            _compare(
                "kinds",
                manifest,
                store,
                truth,
                {"objects": 10000, "digits": 1000, "shapes": 100},
                300,
                encoder,
            )


def photographs(scratch: Path) -> None:
    """Ten CIFAR-10 classes at 100:1."""
    cifar = extracted("cifar10", scratch)
    with workplace(scratch, "balance-cifar"):
        manifest, store = ingest(f"folder:{cifar / 'train'}")
        truth = manifest.frame["label"].to_numpy(str)
        sizes = dict(
            zip(sorted(set(truth)), np.geomspace(5000, 50, 10).round().astype(int), strict=True)
        )
        for encoder in ("pixels", "scattering"):
            _compare("cifar10", manifest, store, truth, sizes, 500, encoder)


def _drawn(truth: np.ndarray, sizes: dict[str, int]) -> np.ndarray:
    """A mask of the imbalanced pool."""
    lot = numpy_generator(0, "imbalance")
    keep = np.zeros(len(truth), bool)
    for label, size in sizes.items():
        keep[lot.permutation(np.flatnonzero(truth == label))[:size]] = True
    return keep


def _teach(manifest: Manifest, store: PixelStore, truth: np.ndarray, pool: np.ndarray) -> None:
    """An encoder that knows the classes, laid out as a registered one: 800 steps on the labelled
    digits outside the pool.
    """
    others = np.flatnonzero(~pool)
    channels, side = store.shape[1], store.shape[-1]
    preprocess = Preprocess.from_pixels(store, others)
    network = with_head(create_backbone("test_resnet", channels, side, seed=0), 10)
    ops = light(resolve("glyphs", channels, side, Symmetry()))
    batches = LabelledBatches(
        store.gather(others), truth[others].astype(np.int64), ops, preprocess, 64, 0
    )
    train(
        network,
        batches,
        Recipe("balance: teach", 0, 800, 0.002, 0.05),
        resume=None,
        track=None,
    )
    right = (
        network.eval()(preprocess.apply(store.gather(np.flatnonzero(pool)))).argmax(1).numpy()
        == truth[pool].astype(int)
    ).mean()
    print(
        f"balance: {TAUGHT} learnt from {len(others):,} labelled digits and names {right:.3f} of"
        " the pool",
        flush=True,
    )
    save_model("taught", network.backbone, {"method": "benchmark"}, preprocess)
    digest = hashlib.sha256(Path("taught/weights.safetensors").read_bytes()).hexdigest()
    write_json(paths.ENCODER, {"encoder": TAUGHT, "digest": digest, "folder": "taught"})


def _compare(
    name: str,
    manifest: Manifest,
    store: PixelStore,
    truth: np.ndarray,
    sizes: dict[str, int],
    wanted: int,
    encoder: str,
) -> None:
    keep = _drawn(truth, sizes)
    pool = unlabelled(manifest, keep)
    told = []
    for way, module in (("balance", operator), ("random", budget)):
        found = []
        for seed in range(SEEDS):
            curation = Curation(pool, store, encoder, wanted, seed=0)  # one encoder, several draws
            curation.seed = seed
            module.apply(curation, module.Settings())
            found.append(entropy(truth[curation.keep], len(sizes)))
        told.append(f"{way} {np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")
    best = entropy(np.repeat(list(sizes), _most_even(list(sizes.values()), wanted)), len(sizes))
    print(
        f"balance: {name}, {keep.sum():,} images, {wanted} drawn by {encoder}: "
        f"class entropy {', '.join(told)}; {best:.3f} is possible",
        flush=True,
    )


def entropy(labels: np.ndarray, classes: int) -> float:
    """Entropy of labels as a share of that of ``classes`` equal ones."""
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(share * np.log(share)).sum() / np.log(classes))


def _most_even(sizes: list[int], wanted: int) -> np.ndarray:
    return operator.allocate(wanted, np.array(sizes), np.zeros(len(sizes), np.int64))
