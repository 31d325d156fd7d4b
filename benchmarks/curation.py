"""What curation finds, on data whose truth is known: ``python -m benchmarks.curation CIFAR10_FOLDER [TINY_IMAGENET_FOLDER]``.

Prints one line per figure. Nothing is written outside a temporary folder.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from stages.core import paths
from stages.core.manifest import Manifest
from stages.core.params import Params, load_params
from stages.core.pixels import PixelStore
from stages.core.random import numpy_generator
from stages.curate.operators import balance, budget, near_duplicates, target_coreset
from stages.curate.state import Curation
from stages.ingest.collect import complete_manifest, decode_images, list_sources
from stages.ingest.resolve import resolve_store

VEHICLES = ("airplane", "automobile", "ship", "truck")


def params_for(source: object, root: Path, **ingest: object) -> Params:
    """The project's parameters with another source and no held-out images."""
    values = load_params(root / paths.PARAMS).model_dump(by_alias=True)
    values["ingest"] |= {"source": source, "validation_fraction": 0, "test_fraction": 0, "labelled_fraction": 0, **ingest}
    return Params.model_validate(values)


def ingest(params: Params) -> tuple[Manifest, PixelStore, float]:
    """Manifest, pixels and seconds."""
    began = time.monotonic()
    listed = list_sources(params)
    facts = decode_images(listed, resolve_store(params.ingest, listed), params.ingest.max_pixels, paths.POOL_PIXELS)
    manifest = Manifest(complete_manifest(listed, facts, params))
    return manifest, PixelStore.open(), time.monotonic() - began


def altered(image: Image.Image, kind: int, lot: np.random.Generator) -> Image.Image:
    """The same picture: resized, recompressed, cropped to 95 %, or brighter or darker."""
    side = image.width
    if kind == 0:
        small = image.resize((round(side * 0.75),) * 2, Image.Resampling.BILINEAR)
        return small.resize((side, side), Image.Resampling.BICUBIC)
    if kind == 1:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(lot.integers(50, 80)))
        return Image.open(file).convert("RGB")
    if kind == 2:
        left, top = lot.uniform(0, side * 0.05, 2)
        box = (left, top, left + side * 0.95, top + side * 0.95)
        return image.resize((side, side), Image.Resampling.BICUBIC, box=box)
    return ImageEnhance.Brightness(image).enhance(float(lot.choice([0.8, 0.85, 1.15, 1.2])))


def near_duplicate_figures(cifar: Path, root: Path) -> None:
    """Recall of 2,000 injected copies in 40,000 images, and precision against what is found with none injected."""
    lot = numpy_generator(0, "near")
    files = sorted(cifar.rglob("*.jp*g"))
    base = [files[place] for place in np.sort(lot.permutation(len(files))[:40000])]
    folder = Path("near")
    folder.mkdir()
    for number, file in enumerate(base):
        os.link(file, folder / f"{number:05}.jpg")
    drops = []
    for injected in (0, 2000):
        for number, source in enumerate(lot.permutation(40000)[:injected]):
            image = altered(Image.open(base[source]).convert("RGB"), number % 4, lot)
            image.save(folder / f"copy-{number:04}-of-{source:05}.png")
        manifest, store, _ = ingest(params_for(f"folder:{folder}", root))
        curation = Curation(manifest, store, "pixels", 1.0, 0)
        began = time.monotonic()
        near_duplicates.apply(curation, near_duplicates.Settings())
        drops.append((manifest.frame["uri"].to_numpy(), ~curation.keep, curation.reason, time.monotonic() - began))
    natural = set(drops[0][0][drops[0][1]]) | {reason.split(" like ")[1] for reason in drops[0][2][drops[0][1]]}
    uris, gone, reasons, seconds = drops[1]
    pairs = [(uri, reason.split(" like ")[1]) for uri, reason in zip(uris[gone], reasons[gone], strict=True)]
    true = {uri for uri, like in pairs if f"-of-{like[-9:-4]}." in uri or "copy-" in uri or "copy-" in like}
    false = [uri for uri, like in pairs if uri not in true and uri not in natural and like not in natural]
    copies = [uri for uri in uris if "copy-" in uri]
    found = (
        sum(any(copy in pair for pair in pairs) for copy in copies)
        if len(copies) < 50
        else len({name for pair in pairs for name in pair if "copy-" in name})
    )
    print(f"near-duplicates: recall {found / len(copies):.4f}, precision {len(true) / (len(true) + len(false)):.4f}, ", end="")
    print(f"natural groups found without any injected: {drops[0][1].sum()} images; {seconds:.0f} s for 42,000 images")


def balance_figures(root: Path) -> None:
    """Class entropy of a balanced and of a random sample of 200 from digits at 100:1."""
    manifest, store, _ = ingest(params_for("digits", root, labelled_fraction=1))
    truth = manifest.frame["label"].to_numpy(str)
    lot = numpy_generator(0, "imbalance")
    keep = np.zeros(len(manifest), bool)
    for label, size in enumerate(np.geomspace(170, 2, 10).round().astype(int)):
        keep[lot.permutation(np.flatnonzero(truth == str(label)))[:size]] = True
    pool = Manifest(manifest.frame.assign(label=None, split="none", role="pool", status=np.where(keep, "ok", "quarantined")))
    for name, operator in (("balance", balance), ("random", budget)):
        entropies = []
        for seed in range(5):
            curation = Curation(pool, store, "pixels", 60, seed)
            operator.apply(curation, operator.Settings())
            share = np.bincount(truth[curation.keep].astype(int), minlength=10) / curation.keep.sum()
            entropies.append(-(share[share > 0] * np.log(share[share > 0])).sum() / np.log(10))
        print(f"{name}: class entropy {np.mean(entropies):.3f} of uniform (seeds {min(entropies):.3f} to {max(entropies):.3f})")


def coreset_figures(cifar: Path, tiny: Path, root: Path) -> None:
    """500 CIFAR-10 vehicles choose from a pool of CIFAR-10, tiny-imagenet and digits."""
    lot = numpy_generator(0, "coreset")
    files = [file for name in VEHICLES for file in sorted((cifar / "train" / name).iterdir())]
    for place in lot.permutation(len(files))[:500]:
        target = Path("target") / files[place].parent.name / files[place].name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(files[place], target)
    source = [
        {"from": "folder:target", "name": "target"},
        {"from": f"folder:{cifar / 'test'}", "name": "cifar", "role": "pool"},
        {"from": f"folder:{tiny}", "name": "tiny", "role": "pool"},
        {"from": "digits", "role": "pool"},
    ]
    manifest, store, _ = ingest(params_for(source, root, labelled_fraction=1, store_size=32, channels=3))
    curation = Curation(manifest, store, "pixels", 1.0, 0)
    target_coreset.apply(curation, target_coreset.Settings())
    kept = manifest.frame[curation.keep & (manifest.frame["source"] != "target").to_numpy()]
    pool = manifest.frame[manifest.frame["source"] == "cifar"]
    vehicles = kept["uri"].str.contains("|".join(VEHICLES)) & (kept["source"] == "cifar")
    chance = pool["uri"].str.contains("|".join(VEHICLES)).sum() / (manifest.frame["source"] != "target").sum()
    print(
        f"target coreset: {len(kept)} chosen, {(kept['source'] == 'cifar').mean():.3f} of them CIFAR-10, "
        f"vehicles {vehicles.mean() / chance:.2f} times chance"
    )


def main() -> None:
    """Run every figure in a temporary folder."""
    folders = [Path(name).resolve() for name in sys.argv[1:]]
    root = Path.cwd()
    with tempfile.TemporaryDirectory(dir=folders[0].parent if folders else None) as scratch:
        os.chdir(scratch)
        try:
            balance_figures(root)
            if len(folders) > 1:
                coreset_figures(*folders, root)
            if folders:
                near_duplicate_figures(folders[0], root)
        finally:
            os.chdir(root)


if __name__ == "__main__":
    main()
