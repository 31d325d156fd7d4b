"""The images a contrastive objective learns most from: those whose views are most like other images' views.

Data-Efficient Contrastive Self-supervised Learning: Most Beneficial Examples for Supervised Learning Contribute the Least
(SAS, 2023): within each latent class (here a k-means cluster) a greedy facility-location choice on the expected similarity of
views.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.core.manifest import Rows
from stages.core.params import Section
from stages.curate import kmeans
from stages.curate.state import Curation

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
            chosen[members[cover((expected @ expected.T).numpy(), int(quotas[number]))]] = True
    lost = free[~chosen]
    curation.drop(lost, ["contrastive_subset: its views resemble few others of its cluster"] * len(lost))
    return {"clusters": len(centroids), "dropped": len(lost)}


def proportional(sizes: np.ndarray, count: int) -> np.ndarray:
    """Whole shares of ``count`` in proportion to ``sizes``, largest remainders first."""
    exact = sizes * count / max(int(sizes.sum()), 1)
    shares = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - shares), kind="stable")
    shares[order[: count - int(shares.sum())]] += 1
    return shares


def expected_views(curation: Curation, rows: Rows) -> Tensor:
    """Mean unit feature over flips and crops of each image ``(n, D)``: its product with another's is the expected similarity."""
    images = curation.store.gather(rows)
    side = max(1, round(images.shape[-1] * _KEPT))
    room = images.shape[-1] - side
    total = torch.zeros(0)
    for down, right in _CUTS:
        top, left = round(down * room), round(right * room)
        cut = images[:, :, top : top + side, left : left + side]
        whole = F.interpolate(cut.float(), images.shape[-2:], mode="bilinear").round_().to(torch.uint8)
        for view in (whole, whole.flip(-1)):
            values = curation.encode(view.contiguous())
            values = values - values.mean(1, keepdim=True)
            unit = values / (values.norm(dim=1, keepdim=True) + 1e-6)
            total = unit if not len(total) else total + unit
    return total / (2 * len(_CUTS))


def cover(similarity: np.ndarray, count: int) -> np.ndarray:
    """Greedy facility location: positions of ``count`` rows that together are most similar to all rows ``(n, n)``."""
    gain_matrix = np.maximum(similarity, 0)
    covered = np.zeros(len(similarity), gain_matrix.dtype)
    chosen: list[int] = []
    left = np.ones(len(similarity), bool)
    for _ in range(min(count, len(similarity))):
        gains = np.maximum(gain_matrix - covered, 0).sum(axis=1)
        gains[~left] = -1
        best = int(gains.argmax())
        chosen.append(best)
        left[best] = False
        covered = np.maximum(covered, gain_matrix[best])
    return np.sort(np.array(chosen, np.int64))
