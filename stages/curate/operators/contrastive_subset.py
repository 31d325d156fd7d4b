"""The images a contrastive objective learns most from: those whose views are most like other
images' views.

Data-Efficient Contrastive Self-supervised Learning: Most Beneficial Examples for Supervised
Learning Contribute the Least (SAS, 2023): within each latent class (here a k-means cluster) images
are chosen one by one so that the expected similarity of views between those in and those out of the
subset is largest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.core.data.manifest import Rows
from stages.core.sections import Section
from stages.curate import kmeans
from stages.curate.curation import Curation

PER_CLUSTER = 250
_CUTS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))
_KEPT = 0.75


class Settings(Section):
    """None: ``curate.budget`` says how many stay."""


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Thin the candidates to the budget, every cluster by the same share; labelled images stay."""
    rows = curation.candidates()
    free = rows[~curation.labelled[rows]]
    wanted = curation.budget - (len(rows) - len(free))
    if wanted >= len(free):
        return {"dropped": 0}
    centroids = kmeans.fit(curation.features, free, max(1, len(free) // PER_CLUSTER), curation.seed)
    cluster = kmeans.assign(curation.features, free, centroids)
    sizes = np.bincount(cluster, minlength=len(centroids))
    quotas = proportional(sizes, max(0, wanted))
    chosen = np.zeros(len(free), bool)
    for number in range(len(centroids)):
        members = np.flatnonzero(cluster == number)
        if quotas[number]:
            expected = expected_views(curation, free[members])
            chosen[members[most_similar((expected @ expected.T).numpy(), int(quotas[number]))]] = (
                True
            )
    lost = free[~chosen]
    curation.drop(
        lost, ["contrastive_subset: its views resemble few others of its cluster"] * len(lost)
    )
    return {"clusters": len(centroids), "dropped": len(lost)}


def proportional(sizes: np.ndarray, count: int) -> np.ndarray:
    """Whole shares of ``count`` in proportion to ``sizes``, largest remainders first."""
    exact = sizes * count / max(int(sizes.sum()), 1)
    shares = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - shares), kind="stable")
    shares[order[: count - int(shares.sum())]] += 1
    return shares


def expected_views(curation: Curation, rows: Rows) -> Tensor:
    """Mean unit feature over flips and crops of each image ``(n, D)``: its product with another's
    is the expected similarity.
    """
    images = curation.store.gather(rows)
    side = max(1, round(images.shape[-1] * _KEPT))
    room = images.shape[-1] - side
    total = torch.zeros(0)
    for down, right in _CUTS:
        top, left = round(down * room), round(right * room)
        cut = images[:, :, top : top + side, left : left + side]
        whole = (
            F.interpolate(cut.float(), images.shape[-2:], mode="bilinear").round_().to(torch.uint8)
        )
        for view in (whole, whole.flip(-1)):
            values = curation.encode(view.contiguous())
            values = values - values.mean(1, keepdim=True)
            unit = values / (values.norm(dim=1, keepdim=True) + 1e-6)
            total = unit if not len(total) else total + unit
    return total / (2 * len(_CUTS))


def most_similar(similarity: np.ndarray, count: int) -> np.ndarray:
    """Positions of ``count`` rows chosen one by one for the largest sum of similarities ``(n, n)``
    to the rows not chosen.
    """
    table = np.maximum(similarity, 0).astype(np.float64)
    gains = table.sum(axis=1) - np.diag(table)
    chosen = np.zeros(len(table), bool)
    for _ in range(min(count, len(table))):
        best = int(np.where(chosen, -np.inf, gains).argmax())
        chosen[best] = True
        gains -= (
            2 * table[best]
        )  # similarity to a chosen row counts no more, and what that row had in this one is lost
    return np.flatnonzero(chosen).astype(np.int64)
