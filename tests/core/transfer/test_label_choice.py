"""Label choice: each strategy against a loop, new kinds first, nothing twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from flows.commands.label_next import NAMES
from stages.core.metrics.representation import normalise
from stages.core.transfer.label_choice import (
    NEIGHBOURS,
    STRATEGIES,
    choose,
    coverage,
    margin,
    new_kinds,
    typicality,
)


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Three kinds of 30 images; a few of the first are labelled."""
    rng = np.random.default_rng(0)
    centres = np.eye(3, 8).repeat(30, axis=0)
    unit = normalise((centres + 0.05 * rng.normal(size=(90, 8))).astype(np.float32))
    labelled = np.zeros(90, dtype=bool)
    labelled[:4] = True
    return unit, labelled


def chances(count: int, classes: int = 3) -> np.ndarray:
    drawn = np.random.default_rng(1).random((count, classes))
    return (drawn / drawn.sum(axis=1, keepdims=True)).astype(np.float32)


def test_the_command_names_the_strategies_there_are() -> None:
    assert set(NAMES) == set(STRATEGIES)


def test_margin_is_the_gap_of_a_loop(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    unit, labelled = blobs
    probabilities = chances(len(unit))
    gaps = []
    for position, row in enumerate(probabilities):
        first, second = sorted(row.tolist(), reverse=True)[:2]
        if not labelled[position]:
            gaps.append((first - second, position))
    found = list(margin(unit, labelled, 5, probabilities, 0))
    assert found == [position for _, position in sorted(gaps)]


def test_typicality_is_the_inverse_mean_distance_of_a_loop(
    blobs: tuple[np.ndarray, np.ndarray],
) -> None:
    unit, _ = blobs
    for position in (0, 17, 60):
        distances = sorted(
            float(np.linalg.norm(unit[position].astype(np.float64) - other))
            for number, other in enumerate(unit)
            if number != position
        )
        expected = 1 / np.mean(distances[:NEIGHBOURS])
        assert typicality(unit)[position] == pytest.approx(expected, rel=1e-3)


def test_coverage_is_greedy_k_centre(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    unit, labelled = blobs
    known = [unit[position] for position in np.flatnonzero(labelled)]
    expected = []
    for _ in range(6):
        gaps = [
            -1.0
            if labelled[position] or position in expected
            else min(1 - float(vector @ other) for other in known)
            for position, vector in enumerate(unit)
        ]
        expected.append(int(np.argmax(gaps)))
        known.append(unit[expected[-1]])
    found = list(itertools.islice(coverage(unit, labelled, 6, chances(90), 0), 6))
    assert found == expected


def test_kinds_without_a_label_come_first_by_their_most_typical_image(
    blobs: tuple[np.ndarray, np.ndarray],
) -> None:
    unit, labelled = blobs
    kinds = new_kinds(unit, labelled, 3, 0)
    assert sorted(position // 30 for position in kinds) == [1, 2]
    for position in kinds:
        own = unit[30 * (position // 30) : 30 * (position // 30) + 30]
        assert position % 30 == int(np.argmax(typicality(own)))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_gives_each_unlabelled_image_once(
    blobs: tuple[np.ndarray, np.ndarray], strategy: str
) -> None:
    unit, labelled = blobs
    picked, first = choose(strategy, unit, labelled, 86, chances(90), 0)
    assert sorted(picked) == list(range(4, 90))
    assert first >= 2, "two kinds have no label"
    fewer, _ = choose(strategy, unit, labelled, 5, chances(90), 0)
    assert len(set(fewer)) == 5 and not labelled[fewer].any()


def test_typical_images_spread_over_the_clusters(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    unit, labelled = blobs
    order = STRATEGIES["typical"](unit, np.zeros(90, dtype=bool), 3, chances(90), 0)
    assert sorted(position // 30 for position in itertools.islice(order, 3)) == [0, 1, 2]
    assert labelled.sum() == 4
