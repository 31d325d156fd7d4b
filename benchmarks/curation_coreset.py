"""Does target_coreset find, in a mixed pool, the images that look like the target?"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.curation_pool import extracted, ingest, workplace
from stages.core.random import numpy_generator
from stages.curate.curation import Curation
from stages.curate.operators import target_coreset

VEHICLES = ("airplane", "automobile", "ship", "truck")
TARGET = 500
STOPS = (0.9, 0.7)
ENCODERS = ("pixels", "scattering")


def coreset(scratch: Path) -> None:
    """500 CIFAR-10 vehicles choose from the rest of CIFAR-10, tiny-imagenet-40 and digits."""
    cifar, tiny = extracted("cifar10", scratch), extracted("tiny-imagenet-40", scratch)
    with workplace(scratch, "coreset"):
        _link_target(cifar)
        source = [
            {"from": "folder:target", "name": "target"},
            {"from": f"folder:{cifar}", "name": "cifar", "role": "pool"},
            {"from": f"folder:{tiny}", "name": "tiny", "role": "pool"},
            {"from": "digits", "role": "pool"},
        ]
        manifest, store = ingest(source, store_size=32, channels=3)
        frame = manifest.frame
        target = (frame["source"] == "target").to_numpy()
        own = (
            frame["id"].isin(frame.loc[target, "id"]).to_numpy()
        )  # the target's own images are not there to be found
        of_cifar = (frame["source"] == "cifar").to_numpy()
        test_half = frame["uri"].str.startswith("cifar:test/").to_numpy()
        for name, pool in {
            "all of CIFAR-10": ~own,
            "its test images": ~own & (~of_cifar | test_half),
        }.items():
            for encoder in ENCODERS:
                for stop in STOPS:
                    curation = Curation(manifest, store, encoder, 1.0, 0)
                    curation.keep &= pool | target
                    target_coreset.apply(curation, target_coreset.Settings(stop=stop))
                    _tell(
                        f"{name}, {encoder}, stop {stop}",
                        frame,
                        of_cifar,
                        pool,
                        curation.keep & pool,
                    )


def _tell(
    name: str, frame: pd.DataFrame, of_cifar: np.ndarray, pool: np.ndarray, chosen: np.ndarray
) -> None:
    vehicle = of_cifar & frame["uri"].str.contains("|".join(VEHICLES)).to_numpy()
    print(
        f"coreset: pool with {name}: {chosen.sum():,} chosen of {pool.sum():,},"
        f" {of_cifar[chosen].mean():.3f} CIFAR-10 (chance {of_cifar[pool].mean():.3f}), vehicles"
        f" {vehicle[chosen].mean() / vehicle[pool].mean():.2f} times chance",
        flush=True,
    )


def _link_target(cifar: Path) -> None:
    if Path("target").is_dir():
        return
    files = [file for name in VEHICLES for file in sorted((cifar / "train" / name).iterdir())]
    for place in numpy_generator(0, "coreset").permutation(len(files))[:TARGET]:
        link = Path("target") / files[place].parent.name / files[place].name
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(files[place], link)
