"""The table the expectations read: the manifest with what several rows say together written on each
of them.
"""

from __future__ import annotations

import pandas as pd

from stages.core.data.manifest import Manifest
from stages.core.sections import Ingest

HELD_OUT = ("val", "test")


def image_facts(manifest: Manifest) -> pd.DataFrame:
    """One row per image, in manifest order.

    Added columns: ``explained`` (id, or the reason there is none), ``quarantined`` (0/1),
    ``shorter`` and ``longer`` side, ``splits_of_id``, ``copies_in_split`` and ``labels_of_id``
    (counts over the copies of an image), ``class_in_split`` (``"cat in test"``) and ``class_count``
    (images of that class in that split).
    """
    frame = manifest.frame.copy()
    readable = frame["status"] == "ok"
    frame["explained"] = frame["id"].where(readable, frame["reason"])
    frame["quarantined"] = (~readable).astype(int)
    sides = frame[["width", "height"]]
    frame["shorter"], frame["longer"] = (
        sides.min(axis=1).where(readable),
        sides.max(axis=1).where(readable),
    )
    copies = frame.groupby("id", sort=False)
    frame["splits_of_id"] = copies["split"].transform("nunique")
    frame["labels_of_id"] = copies["label"].transform("nunique")
    frame["copies_in_split"] = frame.groupby(["id", "split"], sort=False)["uri"].transform("size")
    labelled = readable & frame["label"].notna() & (frame["split"] != "none")
    frame["class_in_split"] = (frame["label"] + " in " + frame["split"]).where(labelled)
    frame["class_count"] = frame.groupby("class_in_split")["uri"].transform("size")
    return frame


def expected_classes(manifest: Manifest, ingest: Ingest) -> list[str]:
    """Every ``"class in split"`` that must exist: all classes in train and in each split that data
    or parameters ask for.
    """
    given = set(manifest.frame["split"])
    wanted = {"val": ingest.validation_fraction > 0, "test": ingest.test_fraction > 0}
    splits = ["train"] if ingest.labelled_fraction > 0 else []
    splits += [split for split in HELD_OUT if wanted[split] or split in given]
    return [f"{label} in {split}" for label in manifest.classes for split in splits]
