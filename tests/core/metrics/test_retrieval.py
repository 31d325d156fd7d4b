"""Retrieval across encoders, against a loop and constructed cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.metrics.retrieval import retrieved


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 25))
def test_retrieval_is_the_loop_over_all_other_images(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = (rng.normal(size=(images, 4)).astype(np.float32) for _ in range(2))
    labels = rng.integers(3, size=images)
    for place, hit in enumerate(retrieved(queries, gallery, labels)):
        others = [other for other in range(images) if other != place]
        cosines = [
            queries[place] @ gallery[other] / np.linalg.norm(gallery[other]) for other in others
        ]
        assert hit == (labels[others[int(np.argmax(cosines))]] == labels[place])


def clusters(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 40)
    return (3 * np.eye(4)[labels] + rng.normal(size=(160, 4))).astype(np.float32), labels


def test_a_turned_space_is_as_good_but_does_not_find_its_like_in_the_old_one() -> None:
    features, labels = clusters()
    turned = features[:, ::-1].copy()
    assert (
        retrieved(turned, turned, labels).mean()
        == retrieved(features, features, labels).mean()
        > 0.9
    )
    assert retrieved(turned, features, labels).mean() < 0.2


def test_another_width_is_refused() -> None:
    features, labels = clusters()
    with pytest.raises(ValueError, match="cannot be searched"):
        retrieved(features[:, :3], features, labels)
