"""The classifier behind the names of suspects: exact leaving-one-out, classes of any size, labels
it comes to distrust.
"""

import numpy as np
import pytest

from stages.core.random import numpy_generator
from stages.validate.confident_learning import left_out


@pytest.fixture
def described():
    """Two clouds (48 and 12 points) and their labels."""
    lot = numpy_generator(0, "opinion test")
    labels = np.repeat([0, 1], [48, 12])
    points = lot.normal(size=(60, 4)) + 2 * labels[:, None]
    return np.hstack([points, np.ones((60, 1))]), labels


def test_it_agrees_with_fitting_anew_without_each_image(described):
    points, labels = described
    known = numpy_generator(1, "opinion test").random(60) < 0.8
    said = left_out(points, labels, known, 0.5)
    sizes = np.bincount(labels[known])
    for row in range(60):
        rest = known & (np.arange(60) != row)
        weight = 60 / 2 / sizes[labels[rest]]
        target = np.eye(2)[labels[rest]] - 0.5
        gram = points[rest].T @ (weight[:, None] * points[rest]) + 0.5 * np.eye(5)
        weights = np.linalg.solve(gram, points[rest].T @ (weight[:, None] * target))
        assert said[row] == pytest.approx(points[row] @ weights + 0.5)


def test_a_rare_class_is_not_outvoted(described):
    points, labels = described
    said = left_out(points, labels, np.ones(60, bool), 0.5)
    right = said.argmax(axis=1) == labels
    assert right[labels == 1].mean() > 0.9
    assert right[labels == 0].mean() > 0.9
