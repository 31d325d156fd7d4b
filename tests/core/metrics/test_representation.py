"""kNN, RankMe and embedding, against slow second implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.errors import DataError
from stages.core.metrics import representation
from stages.core.metrics.representation import (
    embed,
    knn_predict,
    knn_scores,
    pixel_features,
    rankme,
)


def naive_knn(
    bank: np.ndarray,
    labels: np.ndarray,
    query: np.ndarray,
    k: int,
    classes: int,
    temperature: float,
) -> list[float]:
    similar = [
        (
            sum(x * y for x, y in zip(row, query, strict=True))
            / (math.hypot(*row) * math.hypot(*query)),
            int(label),
        )
        for row, label in zip(bank.tolist(), labels, strict=True)
    ]
    votes = [0.0] * classes
    for cosine, label in sorted(similar, reverse=True)[:k]:
        votes[label] += math.exp(cosine / temperature)
    return [vote / sum(votes) for vote in votes]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30))
def test_knn_votes_as_a_loop_over_all_pairs_does(seed: int, images: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    bank = rng.normal(size=(images, 5)).astype(np.float32)
    queries = rng.normal(size=(4, 5)).astype(np.float32)
    labels = rng.integers(3, size=images)
    votes = knn_scores(bank, labels, queries, k, classes=3, temperature=0.2)
    expected = [naive_knn(bank, labels, query, k, 3, 0.2) for query in queries]
    np.testing.assert_allclose(votes, expected, atol=1e-4)


def test_knn_in_chunks_votes_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    bank, queries = (
        rng.normal(size=(50, 8)).astype(np.float32),
        rng.normal(size=(33, 8)).astype(np.float32),
    )
    labels = rng.integers(4, size=50)
    whole = knn_scores(bank, labels, queries, 7, classes=4)
    monkeypatch.setattr(representation, "SCORES", 150)
    np.testing.assert_allclose(knn_scores(bank, labels, queries, 7, classes=4), whole, atol=1e-6)


def test_one_neighbour_of_the_bank_itself_is_the_image_itself() -> None:
    rng = np.random.default_rng(2)
    bank = rng.normal(size=(40, 8)).astype(np.float32)
    labels = rng.integers(5, size=40)
    np.testing.assert_array_equal(knn_predict(bank, labels, bank, k=1), labels)


def test_knn_refuses_labels_that_do_not_fit() -> None:
    bank = np.ones((3, 2), dtype=np.float32)
    with pytest.raises(DataError, match="one label"):
        knn_scores(bank, np.array([0, 1]), bank, 1, classes=2)
    with pytest.raises(DataError, match="one label"):
        knn_scores(bank, np.array([0, 1, -1]), bank, 1, classes=2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 30))
def test_rankme_is_the_exponential_of_the_entropy_of_singular_values(
    seed: int, images: int, width: int
) -> None:
    matrix = np.random.default_rng(seed).normal(size=(images, width)).astype(np.float32)
    singular = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    entropy = -sum(s / singular.sum() * math.log(s / singular.sum()) for s in singular)
    assert rankme(matrix) == pytest.approx(math.exp(entropy), rel=1e-5)


def test_rankme_of_known_spectra() -> None:
    assert rankme(np.eye(6, dtype=np.float32)) == pytest.approx(6.0)
    assert rankme(np.ones((20, 6), dtype=np.float32)) == pytest.approx(1.0, abs=1e-4)
    assert rankme(np.zeros((20, 6), dtype=np.float32)) == 0.0


class Doubles:
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).float() * 2


class Store:
    def __init__(self, count: int) -> None:
        self.images = (
            torch.arange(count * 4, dtype=torch.int64)
            .remainder(256)
            .to(torch.uint8)
            .reshape(count, 1, 2, 2)
        )

    def gather(self, rows: np.ndarray) -> torch.Tensor:
        return self.images[torch.from_numpy(rows)]


def test_embedding_keeps_the_order_of_the_rows_across_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(representation, "BATCH", 4)
    store, rows = Store(12), np.array([7, 0, 3, 11, 5, 1, 2])
    expected = store.images.numpy().reshape(12, 4)[rows].astype(np.float32)
    np.testing.assert_array_equal(embed(Doubles(), store, rows), expected * 2)
    np.testing.assert_allclose(pixel_features(store, rows), expected / 255)


def test_embedding_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="no images"):
        embed(Doubles(), Store(2), np.array([], dtype=np.int64))
