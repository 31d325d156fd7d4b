"""Shards end where names say, so that versions of the data have most of them in common."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.data import shards
from stages.core.data.shards import even_ends, named_ends, whole_shard

ROW = 1 << 10
CLASSES = [f"class{number}" for number in range(10)]


def names(*numbers: int, start: str = "") -> list[str]:
    return sorted(f"{kind}/{start}{number:05}.jpg" for kind in CLASSES for number in numbers)


def pieces(of: list[str]) -> set[tuple[str, ...]]:
    ends = named_ends(of, len(of), ROW)
    return {tuple(of[begin:end]) for begin, end in pairwise([0, *ends.tolist()])}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40_000), st.sampled_from([1, 64, 700, 3072, 1 << 21]), st.text(max_size=3))
def test_every_row_is_in_one_shard_and_no_shard_is_much_larger_than_the_average(
    rows, row_bytes, start
):
    ends = named_ends((f"{start}{number}" for number in range(rows)), rows, row_bytes)
    assert ends.tolist() == sorted(set(ends.tolist()))
    assert (ends[-1] if rows else len(ends)) == rows
    largest = max(2 * rows * row_bytes // shards.SHARDS, shards.LEAST_BYTES, row_bytes)
    assert (np.diff(ends, prepend=0) * row_bytes <= 4 * 2 * largest).all()


def test_a_folder_of_ordinary_names_gives_neither_one_shard_nor_a_heap():
    for some in (names(*range(6000)), [f"IMG_{number}.JPG" for number in range(60_000)]):
        assert 15 <= len(pieces(some)) <= 2 * shards.SHARDS


def test_images_added_to_every_class_leave_most_shards_as_they_were():
    before = names(*range(5000))
    grown = sorted(before + names(*range(100), start="new"))
    shared = len(pieces(before) & pieces(grown)) / len(pieces(before))
    assert shared > 0.6
    even = [tuple(before[first : first + 1000]) for first in range(0, len(before), 1000)]
    assert (
        sum(
            piece in {tuple(grown[first : first + 1000]) for first in range(0, len(grown), 1000)}
            for piece in even
        )
        <= 5
    )


def test_one_image_removed_changes_two_shards_at_most():
    before = names(*range(5000))
    for gone in (0, 17_321, len(before) - 1):
        assert len(pieces(before) - pieces(before[:gone] + before[gone + 1 :])) <= 2


def test_a_whole_shard_is_one_in_order_and_complete():
    ends = even_ends(10, 4)
    assert ends.tolist() == [4, 8, 10]
    assert [whole_shard(np.arange(*rows), ends) for rows in ((0, 4), (4, 8), (8, 10))] == [0, 1, 2]
    for rows in (
        [0, 1, 2],
        [1, 2, 3, 4],
        [4, 5, 7, 6],
        [4, 5, -1, 7],
        [-1, -1],
        [0, 1, 2, 3, 4, 5, 6, 7],
        [8, 9, 10],
    ):
        assert whole_shard(np.array(rows), ends) is None, rows
