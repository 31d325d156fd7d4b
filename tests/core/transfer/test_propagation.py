"""Label propagation: against the closed form, and what it buys on two moons of features."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import make_moons

from stages.core.metrics.linear_probe import fit_linear
from stages.core.metrics.representation import normalise
from stages.core.transfer.propagation import (
    NEIGHBOURS,
    SHARPNESS,
    SPREAD,
    fit_propagated,
    propagate,
)


def closed_form(
    features: np.ndarray, labels: np.ndarray, unlabelled: np.ndarray, classes: int
) -> np.ndarray:
    """F = (I - alpha S)^-1 Y with loops over the neighbours, one class and image at a time."""
    unit = normalise(np.concatenate([features, unlabelled])).astype(np.float64)
    count = len(unit)
    weights = np.zeros((count, count))
    for i in range(count):
        similar = unit @ unit[i]
        similar[i] = -2
        for j in np.argsort(-similar)[:NEIGHBOURS]:
            weights[i, j] += max(similar[j], 0) ** SHARPNESS
    weights = weights + weights.T
    degree = weights.sum(axis=1)
    normalised = weights / np.sqrt(np.outer(degree, degree))
    start = np.zeros((count, classes))
    for i, label in enumerate(labels):
        start[i, label] = 1 / (labels == label).sum()
    found = np.linalg.solve(np.eye(count) - SPREAD * normalised, start)[len(labels) :]
    found = np.maximum(found, 0) + 1e-12
    found = found / found.sum(axis=0)
    return found / found.sum(axis=1, keepdims=True)


def test_labels_and_certainty_are_those_of_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 6)) * 3
    labels = np.repeat(np.arange(3), 2)
    features = (centres[labels] + rng.normal(size=(6, 6))).astype(np.float32)
    unlabelled = (centres[rng.integers(0, 3, 60)] + rng.normal(size=(60, 6))).astype(np.float32)
    expected = closed_form(features, labels, unlabelled, 3)
    guessed, certainty = propagate(features, labels, unlabelled, 3)
    np.testing.assert_array_equal(guessed, expected.argmax(axis=1))
    entropy = -(expected * np.log(expected)).sum(axis=1)
    np.testing.assert_allclose(certainty, 1 - entropy / np.log(3), atol=1e-3)


def test_one_label_a_class_follows_the_shape_of_the_images() -> None:
    """Two moons on a sphere: a probe on two labels cuts them, labels that travel do not."""
    points, truth = make_moons(400, noise=0.05, random_state=0)
    lifted = np.column_stack([points, np.ones(len(points))]).astype(np.float32)
    wide = np.column_stack([np.cos(4 * lifted[:, :2]), np.sin(4 * lifted[:, :2]), lifted])
    wide = wide.astype(np.float32)
    first = np.array([np.flatnonzero(truth == label)[0] for label in (0, 1)])
    rest = np.setdiff1d(np.arange(len(wide)), first)
    labels = truth[first].astype(np.int64)
    plain = fit_linear(wide[first], labels, wide[rest], truth[rest], 2)
    spread = fit_propagated(wide[first], labels, wide[rest], wide[rest], truth[rest], 2)
    assert spread.validation_accuracy > plain.validation_accuracy + 0.1
    assert spread.validation_accuracy > 0.95
