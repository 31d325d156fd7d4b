"""Label propagation: a linear classifier on an encoder that learns from unlabelled images, too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, identity
from scipy.sparse.linalg import cg

from stages.core.metrics.linear_probe import LinearProbe, fit_linear
from stages.core.metrics.representation import Array, Labels, normalise

NEIGHBOURS = 10
SPREAD = 0.99
"""How far labels travel along the graph, alpha in the papers."""
SHARPNESS = 3
"""Exponent of the cosine similarity that weighs an edge."""
STRENGTHS = (0.01, 0.1, 1.0)
BLOCK = 1024
LARGEST = 10_000
"""Unlabelled images that are used at most."""


def fit_propagated(
    features: Array,
    labels: Labels,
    unlabelled: Array,
    validation_features: Array,
    validation_labels: Labels,
    classes: int,
) -> LinearProbe:
    """Fit a linear probe to labelled features (n, D) and to unlabelled ones (m, D) with propagated
    labels, each weighted by how certain its label is.

    Paper: Label Propagation for Deep Semi-supervised Learning, 2019.
    """
    guessed, certainty = propagate(features, labels, unlabelled, classes)
    every = np.concatenate([features, unlabelled])
    weights = np.concatenate([np.ones(len(labels)), certainty])
    return fit_linear(
        every,
        np.concatenate([labels, guessed]),
        validation_features,
        validation_labels,
        classes,
        STRENGTHS,
        weights,
    )


def propagate(
    features: Array, labels: Labels, unlabelled: Array, classes: int
) -> tuple[Labels, NDArray[np.float64]]:
    """Return a label (m,) for each unlabelled image and its certainty (m,) between 0 and 1.

    Solves (I - alpha S) F = Y on the symmetric graph of nearest neighbours (Learning with Local and
    Global Consistency, 2004); certainty is one minus the entropy of a row of F over its largest
    possible value. Each class spreads the same mass, so that a frequent one does not flood the
    rest.
    """
    graph = _graph(normalise(np.concatenate([features, unlabelled])))
    system = identity(graph.shape[0], format="csr") - SPREAD * graph
    scores = np.zeros((graph.shape[0], classes))
    for label in range(classes):
        start = np.zeros(graph.shape[0])
        members = np.flatnonzero(labels == label)
        if len(members):
            start[members] = 1 / len(members)
            scores[:, label] = cg(system, start, rtol=1e-5, maxiter=200)[0]
    own = np.maximum(scores[len(features) :], 0) + 1e-12
    own /= own.sum(axis=0, keepdims=True)
    own /= own.sum(axis=1, keepdims=True)
    entropy = -(own * np.log(own)).sum(axis=1)
    guessed: Labels = own.argmax(axis=1).astype(np.int64)
    return guessed, np.clip(1 - entropy / np.log(max(2, classes)), 0, 1)


def _graph(unit: Array) -> csr_matrix:
    """Normalised adjacency (N, N) of the nearest neighbours of unit vectors (N, D)."""
    count = min(NEIGHBOURS, len(unit) - 1)
    rows, columns, values = [], [], []
    for start in range(0, len(unit), BLOCK):
        block = unit[start : start + BLOCK] @ unit.T
        here = np.arange(len(block))
        block[here, start + here] = -1.0
        nearest = np.argpartition(-block, count - 1, axis=1)[:, :count]
        rows.append(np.repeat(start + here, count))
        columns.append(nearest.reshape(-1))
        values.append(np.take_along_axis(block, nearest, axis=1).reshape(-1))
    weights = np.maximum(np.concatenate(values), 0).astype(np.float64) ** SHARPNESS
    shape = (len(unit), len(unit))
    one_way = csr_matrix((weights, (np.concatenate(rows), np.concatenate(columns))), shape)
    both = one_way + one_way.T
    degree = np.asarray(both.sum(axis=1)).reshape(-1)
    scale = diags(1 / np.sqrt(np.maximum(degree, 1e-12)))
    return csr_matrix(scale @ both @ scale)
