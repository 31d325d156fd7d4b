"""Label propagation: rows of linear probes that use images without labels, controls included."""

from __future__ import annotations

import numpy as np

from stages.core.metrics.linear_probe import LinearProbe
from stages.core.metrics.representation import Array, Labels, embed, pixel_features
from stages.core.models.artifact import Encoder
from stages.core.transfer.propagation import fit_propagated
from stages.evaluate.evaluation import Inputs
from stages.evaluate.ladder import Budget, Labelled, Row

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


def propagated_probe(inputs: Inputs, draw: Labels, features: Labelled, pool: Array) -> LinearProbe:
    """Fit on the labels of a draw; the other training images count as unlabelled."""
    rest = np.setdiff1d(np.arange(len(features.train)), draw)
    return fit_propagated(
        features.train[draw],
        inputs.truth.train[draw],
        np.concatenate([features.train[rest], pool]),
        features.validation,
        inputs.truth.validation,
        inputs.truth.classes,
    )


def propagated_row(
    inputs: Inputs, model: str, step: Budget, features: Labelled, pool: Array
) -> Row:
    """Return the row of an encoder at a budget, over as many draws as trained networks have."""
    correct, validation = [], []
    for draw in step.draws[: inputs.draws]:
        probe = propagated_probe(inputs, draw, features, pool)
        validation.append(probe.validation_accuracy)
        correct.append(probe.predict(features.test) == inputs.truth.test)
    accuracy = np.stack(correct, axis=1)
    chosen = f"labels propagated to {len(pool):,} images"
    return Row(
        model, "propagated", step.name, step.images, accuracy, float(np.mean(validation)), chosen
    )
