"""Inputs of label propagation: features of the labelled splits and of images without a label."""

from __future__ import annotations

import numpy as np

from stages.core.metrics.representation import Array, embed, pixel_features
from stages.core.models.artifact import Encoder
from stages.evaluate.evaluation import Inputs
from stages.evaluate.ladder import Labelled

COMPONENTS = 256
"""Principal components that raw pixels are reduced to: a graph of neighbours needs no more."""


def propagated_features(
    inputs: Inputs, encoder: Encoder | None, features: Labelled
) -> tuple[Labelled, Array]:
    """Return the features of the labelled splits and of the images without a label; those of raw
    pixels (``encoder`` None) are reduced to 256 principal components.
    """
    if encoder is not None:
        return features, embed(encoder, inputs.store, inputs.pool, "unlabelled images")
    from sklearn.decomposition import PCA

    pool = pixel_features(inputs.store, inputs.pool)
    every = np.concatenate([features.train, pool])
    count = min(COMPONENTS, *every.shape)
    reduce = PCA(count, svd_solver="randomized", random_state=inputs.task.seed).fit(every)
    parts = (features.train, features.validation, features.test, pool)
    train, validation, test, spread = (reduce.transform(part).astype(np.float32) for part in parts)
    return Labelled(train, validation, test), spread
