"""Does balance even out classes nobody named? Class entropy of what it keeps, beside a random sample of the same size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.curation_pool import extracted, ingest, unlabelled, workplace
from stages.core.manifest import Manifest
from stages.core.pixels import PixelStore
from stages.core.random import numpy_generator
from stages.curate.operators import balance as operator
from stages.curate.operators import budget
from stages.curate.state import Curation

SEEDS = 5


def balance(scratch: Path) -> None:
    """Pools at 100:1: ten digits; ten CIFAR-10 classes; three kinds of pictures."""
    with workplace(scratch, "balance-digits"):
        manifest, store = ingest("digits")
        truth = manifest.frame["label"].to_numpy(str)
        sizes = dict(zip("0123456789", np.geomspace(170, 2, 10).round().astype(int), strict=True))
        for encoder in ("pixels", "scattering", "self"):
            _compare("digits", manifest, store, truth, sizes, 60, encoder)
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
            _compare("kinds", manifest, store, truth, {"objects": 10000, "digits": 1000, "shapes": 100}, 300, encoder)
    with workplace(scratch, "balance-cifar"):
        manifest, store = ingest(f"folder:{cifar / 'train'}")
        truth = manifest.frame["label"].to_numpy(str)
        sizes = dict(zip(sorted(set(truth)), np.geomspace(5000, 50, 10).round().astype(int), strict=True))
        for encoder in ("pixels", "scattering"):
            _compare("cifar10", manifest, store, truth, sizes, 500, encoder)


def _compare(
    name: str, manifest: Manifest, store: PixelStore, truth: np.ndarray, sizes: dict[str, int], wanted: int, encoder: str
) -> None:
    lot = numpy_generator(0, "imbalance")
    keep = np.zeros(len(manifest), bool)
    for label, size in sizes.items():
        keep[lot.permutation(np.flatnonzero(truth == label))[:size]] = True
    pool = unlabelled(manifest, keep)
    told = []
    for way, apply in (("balance", operator), ("random", budget)):
        found = []
        for seed in range(SEEDS):
            curation = Curation(pool, store, encoder, wanted, seed=0)  # one encoder, several draws
            curation.seed = seed
            apply.apply(curation, apply.Settings())
            found.append(entropy(truth[curation.keep], len(sizes)))
        told.append(f"{way} {np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")
    best = entropy(np.repeat(list(sizes), _most_even(list(sizes.values()), wanted)), len(sizes))
    print(
        f"balance: {name}, {keep.sum():,} images, {wanted} drawn by {encoder}: class entropy {', '.join(told)}; "
        f"{best:.3f} is possible",
        flush=True,
    )


def entropy(labels: np.ndarray, classes: int) -> float:
    """Entropy of labels as a share of that of ``classes`` equal ones."""
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(share * np.log(share)).sum() / np.log(classes))


def _most_even(sizes: list[int], wanted: int) -> np.ndarray:
    return operator.allocate(wanted, np.array(sizes), np.zeros(len(sizes), np.int64))
