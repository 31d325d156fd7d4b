"""Compatibility of embeddings, retention and worst group, against loops and constructed cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.compatibility import compatibility, negative_flips, retention, retrieved, worst_group


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 25))
def test_retrieval_is_the_loop_over_all_other_images(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = (rng.normal(size=(images, 4)).astype(np.float32) for _ in range(2))
    labels = rng.integers(3, size=images)
    for place, hit in enumerate(retrieved(queries, gallery, labels)):
        others = [other for other in range(images) if other != place]
        cosines = [queries[place] @ gallery[other] / np.linalg.norm(gallery[other]) for other in others]
        assert hit == (labels[others[int(np.argmax(cosines))]] == labels[place])


def clusters(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 40)
    return (3 * np.eye(4)[labels] + rng.normal(size=(160, 4))).astype(np.float32), labels


def test_the_same_encoder_is_compatible_with_itself() -> None:
    features, labels = clusters()
    found = compatibility(features, features, labels, 200, 0)
    assert found.gain.value == 0 and found.across.value == found.old.value


def test_a_turned_space_is_as_good_but_not_compatible() -> None:
    features, labels = clusters()
    found = compatibility(features, features[:, ::-1].copy(), labels, 200, 0)
    assert found.new.value == pytest.approx(found.old.value)
    assert found.gain.high < 0 and found.across.value < 0.2


def test_another_width_is_refused() -> None:
    features, labels = clusters()
    with pytest.raises(ValueError, match="cannot be searched"):
        compatibility(features, features[:, :3], labels, 100, 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_retention_and_flips_count_what_was_right(pairs: list[tuple[bool, bool]]) -> None:
    before, after = [old for old, _ in pairs], [new for _, new in pairs]
    lost = sum(old and not new for old, new in pairs)
    assert negative_flips(before, after).value == pytest.approx(lost / len(pairs))
    if any(before):
        assert retention(before, after).value == pytest.approx(1 - lost / sum(before))


def test_the_worst_group_is_named_and_images_without_one_do_not_count() -> None:
    name, share = worst_group([True, False, True, True, False], ["a", "a", "b", "b", None])
    assert (name, share.value) == ("a", 0.5)
    with pytest.raises(ValueError, match="no image has a group"):
        worst_group([True], [None])
