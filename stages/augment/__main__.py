"""``python -m stages.augment``."""

from __future__ import annotations

import numpy as np
import torch

from stages.augment.preview import IMAGES, sheet, views_of
from stages.augment.resolve import resolve
from stages.augment.symmetry import MOST, Symmetry, measure_symmetry
from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import DataError
from stages.core.events import Tracker
from stages.core.image.pixel_store import PixelStore
from stages.core.io import write_bytes, write_metrics
from stages.core.params import Params
from stages.core.random import numpy_generator
from stages.core.stage import stage


@stage("augment")
def main(params: Params, track: Tracker) -> None:
    """Resolve the named view policy for these images, write it whole, and draw a preview of what it
    does.
    """
    manifest, store = Manifest.read(paths.CURATED_MANIFEST), PixelStore.open()
    manifest.validate_against(store)
    rows = manifest.pretraining_rows()
    if not len(rows):
        raise DataError("there is no image to pretrain on: curate kept none")
    _, channels, size, _ = store.shape
    symmetry = Symmetry()
    if params.augment.policy in {"auto", "fitted"}:
        sample = numpy_generator(params.seed, "symmetry sample").permutation(rows)[:MOST]
        symmetry = measure_symmetry(store.gather(np.sort(sample)), params.seed)
        print(f"augment: {symmetry.sentence()}")
    policy = resolve(params.augment.policy, channels, size, symmetry, params.augment.flips)

    chosen = numpy_generator(params.seed, "preview").choice(
        rows, min(IMAGES, len(rows)), replace=False
    )
    images = store.gather(chosen)
    views = views_of(images, policy, params.seed)

    policy.write(paths.POLICY)
    write_bytes(
        paths.reports("augment") / "preview.png",
        sheet(images, views, f"View policy: {policy.name}", policy.why),
    )
    changed = (views - images.unsqueeze(1).float() / 255).abs().mean()
    numbers = {
        "operations": len({op["op"] for view in policy.views for op in view}),
        "mean_change": float(changed),
    }
    write_metrics(
        paths.metrics("augment"),
        {
            "policy": policy.name,
            **numbers,
            "size": size,
            "channels": channels,
            "told_apart": symmetry.as_dict(),
        },
    )
    track.params({"augment.policy": policy.name})
    track.metrics({"augment.mean_change": float(torch.round(changed, decimals=6))})
    print(f"augment: {policy.name} ({policy.why})")


if __name__ == "__main__":
    main()
