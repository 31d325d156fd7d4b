"""The pool images nearest to the target set; the rest of the pool goes.

Coreset Sampling from Open-Set for Fine-Grained Self-Supervised Learning (SimCore, 2023): each round
every centre of the target takes its nearest pool image that is left, until a round is clearly less
like the target than the first. Below a minimum of target images choosing by them does harm: Can
Pretext-Based Self-Supervised Learning Be Boosted by Downstream Data? (2022).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stages.core.data.manifest import Rows
from stages.core.errors import ConfigError
from stages.core.sections import Positive, Section, Share
from stages.curate import kmeans
from stages.curate.curation import Curation


class Settings(Section):
    """``centres`` of the target; rounds go on while their likeness is at least ``stop`` of the
    first round's.
    """

    centres: Positive = 100
    stop: Share = 0.9
    min_target: Positive = 100


def apply(curation: Curation, settings: Settings) -> dict[str, float]:
    """Keep the target's own images and the pool images chosen by them."""
    target, pool = target_and_pool(curation)
    if len(target) < settings.min_target:
        raise ConfigError(
            f"curate.steps: target_coreset: {len(target)} target images are too few to choose a"
            f" pool by (min_target: {settings.min_target}); leave the step out, or add target"
            " images"
        )

    mean, scale = spread(curation, np.concatenate([target, pool]))

    def unit(rows: Rows) -> Tensor:
        values = (curation.features(rows) - mean) * scale
        scaled: Tensor = values / (values.norm(dim=1, keepdim=True) + 1e-6)
        return scaled

    centres = kmeans.fit(unit, target, settings.centres, curation.seed)
    centres = centres / (centres.norm(dim=1, keepdim=True) + 1e-6)
    likeness = np.empty((len(centres), len(pool)), np.float32)
    for first in range(0, len(pool), kmeans.BLOCK):
        likeness[:, first : first + kmeans.BLOCK] = (
            centres @ unit(pool[first : first + kmeans.BLOCK]).T
        ).numpy()
    chosen, rounds = choose(likeness, settings.stop, max(0, curation.budget - len(target)))
    lost = np.setdiff1d(np.arange(len(pool)), chosen)
    best = likeness[:, lost].max(axis=0) if len(lost) else np.empty(0)
    curation.drop(
        pool[lost],
        [f"target_coreset: {value:.3f} like the nearest target centre" for value in best],
    )
    return {"target": len(target), "chosen": len(chosen), "rounds": rounds, "dropped": len(lost)}


def spread(curation: Curation, rows: Rows) -> tuple[Tensor, Tensor]:
    """Mean of each feature and one over its standard deviation ``(D,)``: so every feature counts
    alike, whatever the encoder.
    """
    total, squares = torch.zeros(2, curation.features.dimensions, dtype=torch.float64)
    for first in range(0, len(rows), kmeans.BLOCK):
        values = curation.features(rows[first : first + kmeans.BLOCK]).double()
        total += values.sum(0)
        squares += values.square().sum(0)
    mean = total / len(rows)
    deviation = (squares / len(rows) - mean.square()).clamp(min=0).sqrt()
    scale = torch.where(deviation > 1e-4, 1 / deviation.clamp(min=1e-4), 0.0)
    return mean.float(), scale.float()


def choose(likeness: np.ndarray, stop: float, most: int) -> tuple[np.ndarray, int]:
    """Positions chosen by rounds over ``(centres, pool)`` likeness, and how many rounds it took."""
    left = np.ones(likeness.shape[1], bool)
    order = np.argsort(-likeness, axis=1, kind="stable")
    place = np.zeros(len(likeness), np.int64)
    chosen: list[int] = []
    first_round, rounds = None, 0
    while left.any() and len(chosen) < most:
        picks, total = [], 0.0
        for centre in range(len(likeness)):
            while not left[order[centre, place[centre]]]:
                place[centre] += 1
            pick = int(order[centre, place[centre]])
            picks.append(pick)
            total += float(likeness[centre, pick])
        if first_round is None:
            first_round = total
        if total < stop * first_round:
            break
        fresh = list(dict.fromkeys(picks))[: most - len(chosen)]
        chosen += fresh
        left[fresh] = False
        rounds += 1
    return np.sort(np.array(chosen, np.int64)), rounds


def target_and_pool(curation: Curation) -> tuple[Rows, Rows]:
    """Candidates of sources that bring labels, and of those that bring none; in a single source:
    with a label, and without.
    """
    rows = curation.candidates()
    source = curation.manifest.frame["source"].to_numpy()
    of_target = np.isin(source[rows], np.unique(source[curation.labelled & curation.manifest.ok]))
    if of_target.all():
        of_target = curation.labelled[rows]
    return rows[of_target], rows[~of_target]
