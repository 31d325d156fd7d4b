"""Intervals and tests against loops, closed forms and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.metrics import intervals
from stages.core.metrics.intervals import (
    bootstrap_interval,
    calibration_error,
    confusion,
    mcnemar,
    paired_bootstrap,
    reliability,
    resampled_means,
    wilson_interval,
)
from stages.core.random import numpy_generator


def test_resampling_is_the_loop_one_would_write() -> None:
    values = np.random.default_rng(0).random(17)
    picks = numpy_generator(3, "bootstrap", 17).integers(17, size=(100, 17))
    expected = [sum(values[index] for index in row) / 17 for row in picks]
    np.testing.assert_allclose(resampled_means(values, 100, seed=3), expected, atol=1e-6)


def test_repetitions_are_resampled_as_well() -> None:
    values = np.random.default_rng(0).random((9, 4))
    images = numpy_generator(3, "bootstrap", 9).integers(9, size=(50, 9))
    columns = numpy_generator(3, "bootstrap draws", 4).integers(4, size=(50, 4))
    expected = [
        np.mean([np.mean([values[i, j] for i in rows]) for j in picked])
        for rows, picked in zip(images, columns, strict=True)
    ]
    np.testing.assert_allclose(resampled_means(values, 50, seed=3), expected, atol=1e-6)


def test_chunks_draw_as_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(40)
    whole = resampled_means(values, 300, seed=1)
    monkeypatch.setattr(intervals, "CHUNK", 400)
    np.testing.assert_allclose(resampled_means(values, 300, seed=1), whole, atol=1e-9)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        interval = bootstrap_interval(rng.random(200) < 0.8, 400, seed=trial)
        hits += interval.low <= 0.8 <= interval.high
    assert 0.90 <= hits / 300 <= 0.98


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 100))
def test_interval_holds_the_value_and_stays_a_share(correct: list[bool], seed: int) -> None:
    interval = bootstrap_interval(correct, 200, seed)
    assert interval.value == pytest.approx(np.mean(correct))
    assert 0 <= interval.low <= interval.value + 1e-9
    assert interval.value - 1e-9 <= interval.high <= 1


def test_pairing_sees_a_difference_that_two_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(400) < 0.7
    better = base | (np.arange(400) % 25 == 0)
    difference = paired_bootstrap(better, base, 1000, seed=0)
    assert difference.value == pytest.approx(better.mean() - base.mean())
    assert difference.excludes_zero
    assert bootstrap_interval(base, 1000, 0).high > bootstrap_interval(better, 1000, 0).low


def test_no_difference_between_a_thing_and_itself() -> None:
    correct = np.random.default_rng(0).random(50) < 0.5
    difference = paired_bootstrap(correct, correct, 200, seed=0)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert not difference.excludes_zero


def test_one_model_without_repetitions_is_compared_with_each() -> None:
    rng = np.random.default_rng(0)
    single, repeated = rng.random(30), rng.random((30, 3))
    assert paired_bootstrap(single, repeated, 200, 0).value == pytest.approx(
        single.mean() - repeated.mean()
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 15), st.integers(0, 15))
def test_mcnemar_adds_up_binomial_tails(gained: int, lost: int) -> None:
    a = np.array([True] * gained + [False] * lost + [True] * 5)
    b = np.array([False] * gained + [True] * lost + [True] * 5)
    total = gained + lost
    chance = [math.comb(total, i) / 2**total for i in range(total + 1)]
    expected = min(1.0, 2 * sum(chance[: min(gained, lost) + 1])) if total else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 20))
def test_calibration_error_is_the_weighted_gap(seed: int, images: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(4), size=images)
    labels = rng.integers(4, size=images)
    gap = 0.0
    for index in range(bins):
        inside = [i for i in range(images) if index / bins < shares[i].max() <= (index + 1) / bins]
        if inside:
            accuracy = sum(shares[i].argmax() == labels[i] for i in inside) / len(inside)
            gap += (
                len(inside)
                / images
                * abs(accuracy - sum(shares[i].max() for i in inside) / len(inside))
            )
    assert calibration_error(shares, labels, bins) == pytest.approx(gap)
    assert sum(row.count for row in reliability(shares, labels, bins)) == images


def test_a_perfect_and_certain_classifier_is_calibrated() -> None:
    assert calibration_error(np.eye(3), np.arange(3)) == 0
    assert calibration_error(np.eye(3), (np.arange(3) + 1) % 3) == 1


def test_wilson_interval_of_textbook_values() -> None:
    interval = wilson_interval(8, 10)
    assert (interval.low, interval.high) == (
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )
    assert wilson_interval(10, 10).low == pytest.approx(0.7225, abs=1e-4)
    assert wilson_interval(0, 0).high == 1.0


def test_confusion_counts_truth_by_row() -> None:
    np.testing.assert_array_equal(
        confusion([0, 0, 1, 2], [0, 1, 1, 0], 3), [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    )
