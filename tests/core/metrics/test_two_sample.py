"""The classifier test: exact leaving-one-out, a level that is kept, and changes that single
features hide.
"""

import numpy as np
import pytest

from stages.core.metrics import two_sample
from stages.core.metrics.drift import detect_drift, enough, feature_tests
from stages.core.metrics.two_sample import classifier_test
from stages.core.random import numpy_generator


def sides(address: int, n: int = 40, m: int = 30, dimensions: int = 5):
    draw = numpy_generator(address, "separation test")
    values = draw.standard_normal((n + m, dimensions)).astype(np.float32)
    return values[:n], values[n:]


def test_it_agrees_with_fitting_anew_without_each_image():
    reference, new = sides(0)
    values = np.concatenate([reference, new]).astype(np.float64)
    values = (values - values.mean(0)) / values.std(0)
    squares = values**2
    table = np.hstack([values, (squares - squares.mean(0)) / squares.std(0)])
    side = np.arange(70) >= 40
    said = []
    for left in range(70):
        rest = np.arange(70) != left
        design = np.hstack([np.ones((69, 1)), table[rest]])
        penalty = two_sample.RIDGE * 70 * np.diag([0.0] + [1.0] * table.shape[1])
        weights = np.linalg.solve(design.T @ design + penalty, design.T @ side[rest])
        said.append(weights[0] + table[left] @ weights[1:])
    wins = [
        np.sign(said[two] - said[one])
        for two in np.flatnonzero(side)
        for one in np.flatnonzero(~side)
    ]
    assert classifier_test(reference, new, 9, 0).excess == pytest.approx(np.mean(wins), abs=1e-9)


def test_p_values_are_uniform_when_nothing_changed():
    values = np.array(
        [classifier_test(*sides(address), 99, address).p_value for address in range(300)]
    )
    for level in (0.1, 0.25, 0.5):
        assert abs((values <= level).mean() - level) <= 3 * np.sqrt(level * (1 - level) / 300)


def test_neither_side_is_favoured_also_where_images_repeat():
    reference, new = (np.round(values) for values in sides(1))
    assert classifier_test(reference, new, 9, 0).excess == pytest.approx(
        classifier_test(new, reference, 9, 0).excess
    )


def test_a_little_in_every_feature_is_seen_where_no_feature_alone_shows_it():
    draw = numpy_generator(0, "little")
    reference, new = draw.standard_normal((2, 500, 30)).astype(np.float32)
    new += 0.12
    assert min(feature.p_value for feature in feature_tests(reference, new)) > 0.01 / 3
    found = detect_drift(reference, new, alpha=0.01, threshold=0.1, seed=0)
    assert found.drifted and found.classifier.p_value <= 0.01 / 3 and not found.drifting_features


def test_a_change_of_spread_alone_is_seen():
    draw = numpy_generator(0, "spread")
    reference, new = draw.standard_normal((2, 300, 6)).astype(np.float32)
    assert classifier_test(reference, 0.7 * new, 199, 0).p_value == 1 / 200


def test_permutations_are_enough_to_reach_the_level():
    for level in (0.3, 0.01, 0.01 / 3, 0.0005):
        assert 1 / (1 + enough(1, level)) <= level
    assert enough(499, 0.1) == 499
