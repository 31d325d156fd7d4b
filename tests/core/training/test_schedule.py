import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.errors import ConfigError
from stages.core.training.schedule import SCHEDULES, factor


@given(st.sampled_from(SCHEDULES), st.integers(10, 300), st.floats(1, 9))
def test_every_schedule_rises_to_the_peak_and_never_above(schedule, steps, warmup):
    factors = [factor(schedule, step, steps, warmup) for step in range(steps)]
    assert all(0 <= value <= 1 for value in factors)
    rising = int(warmup)
    assert factors[:rising] == sorted(factors[:rising])
    assert math.isclose(factors[rising - 1], 1.0)


def test_cosine_ends_at_zero_and_is_half_way_down_in_the_middle():
    assert factor("cosine", 100, 100, 0.0) < 1e-12
    assert math.isclose(factor("cosine", 50, 100, 0.0), 0.5)


@given(st.integers(0, 200), st.integers(201, 400), st.integers(401, 900))
def test_the_infinite_schedule_does_not_know_the_end(step, one, other):
    assert factor("infinite", step, one, 20) == factor("infinite", step, other, 20)


def test_the_infinite_schedule_takes_no_share_of_an_end_it_does_not_know():
    with pytest.raises(ConfigError, match=r"pretrain.warmup is 0.1.*give steps"):
        factor("infinite", 0, 100, 0.1)
