"""How many categories there are, known and unknown. Nothing is dropped; every image's component
stands in ``cluster``.

Learning Semi-supervised Gaussian Mixture Models for Generalized Category Discovery (2023): a
Gaussian mixture on the main components of the features, that splits and merges; the labelled images
of one class share a component.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from stages.core.data.manifest import Rows
from stages.core.random import numpy_generator
from stages.core.sections import Positive, Section
from stages.curate import kmeans
from stages.curate.curation import Curation
from stages.curate.gaussian_mixture import Array, Index, discover, nearest_component

MOST = 10_000
"""Images the mixture is learnt on; the others only ask it."""


class Settings(Section):
    """``dimensions`` of the features that are looked at; ``start`` components, at least the known
    classes; ``rounds`` at most.
    """

    dimensions: Annotated[int, Field(ge=2, le=64)] = 8
    start: Positive = 5
    rounds: Positive = 50


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Estimate the number of classes and write ``class_count.csv``: images of each, and the known
    class where it is one.
    """
    rows = curation.candidates()
    if len(rows) <= settings.dimensions:
        return {"classes": 0, "known": 0}
    lot = numpy_generator(curation.seed, "class_count")
    sample = np.sort(lot.permutation(rows)[:MOST])
    learnt = curation.features(sample).double().numpy()
    mean, axes = main_axes(learnt, settings.dimensions)
    learnt = (learnt - mean) @ axes
    names, known = known_classes(curation, sample)
    mixture = discover(learnt, known, max(settings.start, len(names)), settings.rounds, lot)

    readable = curation.manifest.rows(curation.manifest.ok)
    for first in range(0, len(readable), kmeans.BLOCK):
        part = readable[first : first + kmeans.BLOCK]
        points = (curation.features(part).double().numpy() - mean) @ axes
        curation.cluster[part] = nearest_component(points, learnt, mixture, known)
    curation.cluster[sample] = mixture.component
    images = np.bincount(curation.cluster[rows], minlength=mixture.count)
    classes = [names[tied] if tied >= 0 else "" for tied in mixture.tied]
    curation.tables["class_count"] = (
        ["cluster", "images", "class"],
        list(zip(range(mixture.count), images, classes, strict=True)),
    )
    return {"classes": mixture.count, "known": len(names), "new": mixture.count - len(names)}


def main_axes(values: Array, count: int) -> tuple[Array, Array]:
    """Mean ``(D,)`` and the directions ``(D, d)`` in which rows ``(n, D)`` vary most, d at most
    ``count``.
    """
    mean = values.mean(0)
    variance, axes = np.linalg.eigh((values - mean).T @ (values - mean) / len(values))
    return mean, np.ascontiguousarray(axes[:, ::-1][:, : min(count, int((variance > 1e-9).sum()))])


def known_classes(curation: Curation, rows: Rows) -> tuple[list[str], Index]:
    """Names of the labelled classes among rows, and each row's number among them, -1 for no
    label.
    """
    label = curation.manifest.frame["label"].to_numpy()[rows]
    labelled = curation.labelled[rows]
    names, number = np.unique(label[labelled].astype(str), return_inverse=True)
    known = np.full(len(rows), -1, np.int64)
    known[labelled] = number
    return names.tolist(), known
