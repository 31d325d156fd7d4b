"""How complex the images are, and how sharply labels change between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.validate.audit import Pool
from stages.validate.neighbours import nearest

SAMPLE = 2000
NEIGHBOURS = 20
FEWEST = 30
LARGEST = 0.9
"""Share of the ratios that TwoNN is fitted to: the largest are left out, as in the paper."""


@dataclass(frozen=True)
class Sharpness:
    """K_F, and the two images of different classes that are nearest to each other."""

    value: float
    pair: tuple[str, str]


def two_nn(distances: npt.NDArray[np.float32]) -> float:
    """Intrinsic dimension from the distances ``(n, >= 2)`` to the two nearest neighbours.

    "Estimating the intrinsic dimension of datasets by a minimal neighborhood information" (2017):
    the slope through the origin of ``-log(1 - F)`` over the logarithm of the ratio of the two
    distances.
    """
    usable = distances[:, 0] > 0
    ratios = np.sort(np.log(distances[usable, 1].astype(np.float64) / distances[usable, 0]))
    kept = ratios[: int(LARGEST * len(ratios))]
    if len(kept) < 2 or not kept.any():
        return 0.0
    share = np.arange(1, len(kept) + 1) / (len(ratios) + 1)
    return float(-(kept * np.log1p(-share)).sum() / (kept**2).sum())


def likelihood(distances: npt.NDArray[np.float32]) -> float:
    """Intrinsic dimension from the distances ``(n, k)`` to k neighbours, nearest first.

    "Maximum Likelihood Estimation of Intrinsic Dimension" (2004), averaging the inverse over
    images.
    """
    usable = distances[distances[:, 0] > 0].astype(np.float64)
    if not len(usable):
        return 0.0
    logs = np.log(usable[:, -1:] / usable[:, :-1]).mean(axis=1)
    return float(1 / logs.mean()) if logs.mean() > 0 else 0.0


def dimensions(pool: Pool) -> tuple[float, float, int]:
    """TwoNN, maximum likelihood over 20 neighbours, and the images looked at; pixels at 32 a side
    or less.
    """
    rows = pool.draw(pool.distinct, SAMPLE, "dimension")
    if len(rows) < FEWEST:
        return 0.0, 0.0, len(rows)
    pixels = pool.thumbnails(rows).reshape(len(rows), -1)
    _, distances = nearest(pixels, pixels, NEIGHBOURS, same=True)
    return two_nn(distances), likelihood(distances), len(rows)


def sharpness(pool: Pool) -> Sharpness | None:
    """Label sharpness K_F: the largest change of label per unit of distance in pixels (0..1), over
    all pairs of a sample.

    "The Effect of Intrinsic Dataset Properties on Generalization: Unraveling Learning Differences
    Between Natural and Medical Images" (2024), for two classes; here a change of class counts as 1
    whatever the classes.
    """
    labelled = pool.manifest.frame["label"].notna().to_numpy(bool)[pool.distinct]
    rows = pool.draw(pool.distinct[labelled], SAMPLE, "sharpness")
    labels = pool.manifest.labels(rows)
    if len(np.unique(labels)) < 2:
        return None
    pixels = pool.thumbnails(rows).reshape(len(rows), -1)
    best, pair = np.inf, (0, 0)
    for label in np.unique(labels)[:-1]:
        mine, others = np.flatnonzero(labels == label), np.flatnonzero(labels > label)
        index, distance = nearest(pixels[mine], pixels[others], 1)
        closest = int(distance[:, 0].argmin())
        if distance[closest, 0] < best:
            best, pair = (
                float(distance[closest, 0]),
                (int(rows[mine[closest]]), int(rows[others[index[closest, 0]]])),
            )
    return Sharpness(1 / max(best, 1e-6), (pool.uri(pair[0]), pool.uri(pair[1])))
