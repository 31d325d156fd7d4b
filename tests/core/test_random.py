"""Randomness with an address."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.core.random import address, addresses, generator, numpy_generator

paths = st.lists(st.one_of(st.integers(), st.text(max_size=8)), max_size=4)


@given(st.integers(0, 2**31), paths)
def test_the_same_address_draws_the_same_numbers(seed: int, path: list[object]) -> None:
    assert torch.equal(
        torch.rand(3, generator=generator(seed, *path)),
        torch.rand(3, generator=generator(seed, *path)),
    )
    assert np.array_equal(
        numpy_generator(seed, *path).random(3), numpy_generator(seed, *path).random(3)
    )


def test_every_part_of_the_address_matters() -> None:
    places = [[0], [1], [0, "views"], [0, "views", 1], [0, "views", 2], [0, "views", 1, 2]]
    assert len({address(*parts) for parts in places}) == 6


def test_no_global_state_is_read_or_changed() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = torch.rand(2, generator=generator(0, "a"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(first, torch.rand(2, generator=generator(0, "a")))


@given(
    st.integers(0, 2**31),
    paths,
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
)
def test_many_addresses_are_those_of_each_name(
    seed: int, path: list[object], names: list[str]
) -> None:
    assert addresses(seed, *path, names=names).tolist() == [
        address(seed, *path, name) for name in names
    ]
