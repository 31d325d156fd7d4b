"""Drift tests: the false-alarm rate is kept over many checks, and changes that matter are seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.errors import DataError
from stages.core.metrics.drift import detect_drift, feature_tests, holm, neighbour_test
from stages.core.random import numpy_generator

FAST = {"threshold": 0.0, "permutations": 99, "sample": 100}


def sides(address: int, n: int = 60, m: int = 40, dimensions: int = 8, ties: bool = False):
    draw = numpy_generator(address, "drift test")
    features = draw.standard_normal((n + m, dimensions)).astype(np.float32) @ draw.standard_normal(
        (dimensions, dimensions)
    ).astype(np.float32)
    features = np.round(features) if ties else features
    return features[:n], features[n:]


@pytest.mark.parametrize("ties", [False, True])
def test_unchanged_data_raises_no_more_alarms_than_allowed(ties: bool) -> None:
    alarms = sum(
        detect_drift(*sides(address, ties=ties), alpha=0.1, seed=address, **FAST).drifted
        for address in range(300)
    )
    assert alarms / 300 <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 300)


def test_p_values_of_the_neighbour_test_are_uniform_when_nothing_changed() -> None:
    values = np.array(
        [neighbour_test(*sides(address), 5, 99, address).p_value for address in range(300)]
    )
    for level in (0.1, 0.25, 0.5):
        assert abs((values <= level).mean() - level) <= 3 * np.sqrt(level * (1 - level) / 300)


def test_a_shift_a_new_cluster_and_a_rotation_are_seen() -> None:
    reference, new = sides(0, 400, 400)
    shifted, clustered = new.copy(), new.copy()
    shifted[:, 3] += 2 * reference[:, 3].std()
    clustered[:80] = clustered[0] + 0.01 * clustered[:80]
    found = detect_drift(reference, shifted, alpha=0.01, seed=0, threshold=0.1)
    assert found.drifted
    assert found.drifting_features[0].feature == "3"
    assert detect_drift(reference, clustered, alpha=0.01, seed=0, threshold=0.02).drifted
    draw = numpy_generator(0, "rotation")
    one, two = draw.standard_normal((2, 400, 1))
    noise = 0.05 * draw.standard_normal((2, 400, 1))
    along, against = (
        np.hstack([one, one + noise[0]]).astype(np.float32),
        np.hstack([two, -two + noise[1]]).astype(np.float32),
    )
    rotated = detect_drift(along, against, alpha=0.01, seed=0, threshold=0.2)
    assert rotated.drifted
    assert (
        rotated.drifting_features == ()
    )  # each feature alone looks unchanged: only the joint test sees it


def test_a_change_too_small_to_matter_is_no_alarm_however_significant() -> None:
    draw = numpy_generator(0, "small")
    reference, new = draw.standard_normal((2, 20_000, 3)).astype(np.float32)
    new[:, 0] += 0.08
    found = detect_drift(
        reference, new, alpha=0.01, threshold=0.1, seed=0, permutations=99, sample=200
    )
    assert min(feature.p_value for feature in found.features) < 1e-6
    assert not found.drifted


def test_the_neighbour_share_agrees_with_a_naive_count() -> None:
    reference, new = sides(3, 25, 15)
    pooled = np.concatenate([reference, new]).astype(np.float64)
    pooled = (pooled - pooled.mean(0)) / pooled.std(0)
    shares: dict[bool, list[float]] = {True: [], False: []}
    for i in range(40):
        near = sorted(
            (float(((pooled[i] - pooled[j]) ** 2).sum()), j) for j in range(40) if j != i
        )[:4]
        shares[i >= 25].append(sum((j >= 25) == (i >= 25) for _, j in near) / 4)
    observed = (np.mean(shares[True]) + np.mean(shares[False])) / 2
    chance = (24 / 39 + 14 / 39) / 2
    assert neighbour_test(reference, new, 4, 9, 0).excess == pytest.approx(
        (observed - chance) / (1 - chance)
    )


def test_features_keep_their_names_and_come_with_the_largest_change_first() -> None:
    reference, new = sides(1, 200, 200, 3)
    new = new + np.array([0, 9, 1], dtype=np.float32)
    assert feature_tests(reference, new, ["mean", "red", "width"])[0].feature == "red"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(
    values: list[float], alpha: float
) -> None:
    rejected = set()
    for rank, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        if (len(values) - rank) * values[index] > alpha:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(holm(values)) if p <= alpha} == rejected


def test_the_same_call_gives_the_same_answer() -> None:
    reference, new = sides(5)
    assert detect_drift(reference, new, alpha=0.05, seed=1, **FAST) == detect_drift(
        reference, new, alpha=0.05, seed=1, **FAST
    )


@pytest.mark.parametrize(
    ("reference", "new", "word"),
    [
        (np.zeros((20, 3)), np.zeros((20, 4)), "compared"),
        (np.zeros((20, 3)), np.zeros((5, 3)), "too few"),
        (np.zeros((20, 3)), np.full((20, 3), np.nan), "finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, new, word: str) -> None:
    with pytest.raises(DataError, match=word):
        detect_drift(reference, new, alpha=0.05, seed=0, threshold=0.1)
