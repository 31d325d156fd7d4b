"""Which combinations an experiment runs."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.experiment.design import Cell, Factor, factorial, factors_of, parse_factor, sobol
from stages.core.errors import ConfigError


def test_values_are_yaml_and_commas_in_brackets_do_not_split() -> None:
    assert parse_factor("a.b=simclr, vicreg").levels == ("simclr", "vicreg")
    assert parse_factor("a=1,0.5,null,true").levels == (1, 0.5, None, True)
    assert parse_factor("a=[1, 2],{x: 3}").levels == ([1, 2], {"x": 3})
    assert parse_factor("a=1e-4").levels == (1e-4,)


def test_a_range_is_logarithmic_when_it_spans_more_than_a_decade() -> None:
    rate = parse_factor("a=1e-4..1e-1")
    ratios = [high / low for low, high in itertools.pairwise(rate.levels)]
    assert rate.ranged
    assert (rate.levels[0], rate.levels[-1]) == (1e-4, 1e-1)
    assert max(ratios) / min(ratios) < 1.01
    assert parse_factor("a=2..5").levels == (2, 3, 4, 5)
    narrow = parse_factor("a=0.9998..1.0").levels
    assert narrow == (0.9998, 0.9999, 1.0), "steps that read alike are one level"


@pytest.mark.parametrize(
    "text", ["a", "=1", "a=", "a=1,1", "a=5..2", "a=x..y", "a=1..inf", "seed=1", "a=[1"]
)
def test_what_is_not_a_factor_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_factor(text)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("--set")


def test_naming_a_key_or_a_version_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        factors_of(["v1"], ["a=1", "a=2"])
    with pytest.raises(ConfigError, match="twice"):
        factors_of(["v1", "v1"], [])


def test_a_factorial_is_the_product() -> None:
    cells = factorial(factors_of(["v1", "v2"], ["a=1,2", "b=x,y,z"]), seeds=range(2))
    naive = {(d, a, b, s) for d in ("v1", "v2") for a in (1, 2) for b in "xyz" for s in (0, 1)}
    assert {(c.data, dict(c.settings)["a"], dict(c.settings)["b"], c.seed) for c in cells} == naive
    assert len(cells) == len({cell.identity for cell in cells}) == 24
    with pytest.raises(ConfigError, match="range"):
        factorial(factors_of(["v1"], ["a=0.1..0.2"]), [0])


def test_a_sobol_sample_covers_every_level_evenly_and_never_repeats() -> None:
    factors = [
        Factor("data", ("v1", "v2")),
        Factor("a", tuple(range(4))),
        Factor("b", tuple(range(8))),
    ]
    cells = sobol(factors, seeds=[0], count=16)
    assert len({cell.identity for cell in cells}) == 16
    for key, most in (("a", 5), ("b", 3)):
        counts = Counter(dict(cell.settings)[key] for cell in cells)
        assert len(counts) == (4 if key == "a" else 8)
        assert max(counts.values()) <= most
    assert sobol(factors, [0], 16) == cells
    assert len(sobol(factors, range(2), 1000)) == 2 * 64


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 3))
def test_a_sample_has_exactly_what_was_asked_for(count: int, seeds: int) -> None:
    factors = [Factor("data", ("v1", "v2", "v3")), parse_factor("a=0.001..1.0")]
    assert len(set(sobol(factors, range(seeds), count))) == count * seeds


def test_a_cell_keeps_its_identity_through_json_and_tells_its_assignments() -> None:
    cell = Cell("v1", (("a.b", [1, 2]), ("c", "x")), 3)
    again = Cell.of(cell.as_dict())
    assert again.identity == cell.identity
    assert cell.assignments == ["a.b=[1,2]", 'c="x"', "seed=3"]
    assert cell.label == "v1 a.b=[1,2] c=x seed=3"
