"""Does near_duplicates find altered copies among photographs, and only them?"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.curation_pool import extracted, ingest, workplace
from stages.core.random import numpy_generator
from stages.curate.curation import Curation
from stages.curate.operators import near_duplicates

IMAGES, COPIES = 40_000, 2_000


def duplicates(scratch: Path) -> None:
    """Recall of 2,000 altered copies in 40,000 images, and precision over the pairs that name one
    of them.
    """
    cifar = extracted("cifar10", scratch)
    lot = numpy_generator(0, "near")
    files = sorted(cifar.rglob("*.jp*g"))
    base = [files[place] for place in np.sort(lot.permutation(len(files))[:IMAGES])]
    with workplace(scratch, "duplicates"):
        folder = Path("in")
        if not folder.is_dir():
            folder.mkdir()
            for number, file in enumerate(base):
                os.link(file, folder / f"{number:05}.jpg")
            for number, source in enumerate(lot.permutation(IMAGES)[:COPIES]):
                image = altered(Image.open(base[source]).convert("RGB"), number % 4, lot)
                image.save(folder / f"copy-{number:04}-of-{source:05}.png")
        manifest, store = ingest(f"folder:{folder}")
        curation = Curation(manifest, store, "pixels", 1.0, 0)
        began = time.process_time()
        near_duplicates.apply(curation, near_duplicates.Settings())
        seconds = time.process_time() - began
        names = manifest.frame["uri"].to_numpy(str)
        pairs = [
            (names[row], curation.reason[row].split(" like ")[1])
            for row in np.flatnonzero(~curation.keep)
        ]
    mine = [pair for pair in pairs if any("copy-" in name for name in pair)]
    true = [pair for pair in mine if len({origin(name) for name in pair}) == 1]
    found = {name for pair in true for name in pair if "copy-" in name}
    print(
        f"near-duplicates: recall {len(found) / COPIES:.4f}, precision"
        f" {len(true) / max(len(mine), 1):.4f} over {len(mine)} pairs with a copy;"
        f" {len(pairs) - len(mine)} other pairs; {seconds:.0f} processor seconds for {len(names):,}"
        " images"
    )


def origin(name: str) -> str:
    """The number of the picture an image shows."""
    return name.rpartition(".")[0][-5:]


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
