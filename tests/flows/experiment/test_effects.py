"""What an experiment's numbers say, against naive second computations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.experiment.design import factors_of, sobol
from flows.experiment.effects import Result, compare, estimate, main_effect, seed_noise, verdict
from flows.experiment.variance import variance_shares
from stages.core.random import numpy_generator


def experiment(
    gain: float, noise: float, seeds: int, address: int = 0, interaction: float = 0.0
) -> list[Result]:
    """v2 is better by ``gain``, method b by 0.1; a seed is Gaussian noise."""
    draw = numpy_generator(address, "effects")
    return [
        Result(
            {"data": data, "method": method},
            seed,
            0.5
            + gain * (data == "v2")
            + 0.1 * (method == "b")
            + interaction * (data == "v2" and method == "b")
            + noise * draw.standard_normal(),
        )
        for data, method, seed in itertools.product(("v1", "v2"), ("a", "b", "c"), range(seeds))
    ]


def classic(results: list[Result]) -> dict[str, float]:
    """Textbook sums of squares of a balanced two-way layout."""
    scores = np.array([r.score for r in results])
    total = ((scores - scores.mean()) ** 2).sum()

    def between(key) -> float:
        groups: dict = {}
        for r in results:
            groups.setdefault(key(r), []).append(r.score)
        return sum(len(g) * (np.mean(g) - scores.mean()) ** 2 for g in groups.values())

    data, method = (
        between(lambda r: r.configuration["data"]),
        between(lambda r: r.configuration["method"]),
    )
    both = between(lambda r: r.key)
    return {
        "data": data / total,
        "method": method / total,
        "interactions": (both - data - method) / total,
        "seed": 1 - both / total,
    }


@settings(max_examples=30, deadline=None)
@given(
    st.floats(-1, 1), st.floats(0.01, 1), st.integers(2, 4), st.integers(0, 1000), st.floats(-1, 1)
)
def test_shares_of_a_full_factorial_are_the_classic_sums_of_squares(
    gain, noise, seeds, address, interaction
) -> None:
    results = experiment(gain, noise, seeds, address, interaction)
    shares = variance_shares(results)
    assert shares == pytest.approx(classic(results), abs=1e-9)
    assert sum(shares.values()) == pytest.approx(1)


def test_failed_cells_leave_shares_that_add_up_and_keep_their_order() -> None:
    results = experiment(0.3, 0.01, 3)
    shares = variance_shares([r for i, r in enumerate(results) if i not in (0, 1, 2, 7)])
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["data"] > shares["method"] > shares["seed"]


def test_equal_scores_explain_nothing_and_a_single_level_is_no_factor() -> None:
    assert set(
        variance_shares([Result({"data": "v1", "a": a}, 0, 0.7) for a in (1, 2)]).values()
    ) == {0.0}
    assert set(variance_shares(experiment(0.1, 0.1, 2)[:6])) == {"method", "interactions", "seed"}


def test_without_repetitions_seed_and_interactions_stand_together() -> None:
    shares = variance_shares(experiment(0.3, 0.05, 1))
    assert list(shares) == ["data", "method", "interactions or seed"]
    assert sum(shares.values()) == pytest.approx(1)


def test_many_numeric_levels_count_as_a_curve() -> None:
    results = [Result({"data": "v1", "rate": rate}, 0, -((rate - 8) ** 2)) for rate in range(17)]
    assert variance_shares(results)["rate"] == pytest.approx(1)


def test_seed_noise_is_the_pooled_deviation() -> None:
    results = [Result({"data": "v1"}, seed, score) for seed, score in enumerate((1.0, 2.0, 3.0))]
    results += [Result({"data": "v2"}, seed, score) for seed, score in enumerate((5.0, 7.0))]
    noise = seed_noise(results)
    assert noise.freedom == 3
    assert noise.deviation == pytest.approx(math.sqrt((2 + 2) / 3))


def test_two_versions_and_one_setting_are_the_two_sample_t_test() -> None:
    from scipy.stats import ttest_ind

    draw = numpy_generator(1, "t")
    results = [
        Result({"data": data}, seed, draw.standard_normal() + (data == "v2"))
        for data in ("v1", "v2")
        for seed in range(6)
    ]
    expected = ttest_ind(
        [r.score for r in results[6:]], [r.score for r in results[:6]]
    ).confidence_interval(0.95)
    difference = compare(results, "v2", "v1")
    assert (difference.low, difference.high) == pytest.approx(
        (expected.low, expected.high), rel=1e-3
    )


def test_the_interval_of_a_level_covers_the_truth_19_times_in_20() -> None:
    hits = 0
    for address in range(400):
        effect = main_effect(experiment(0.05, 0.1, 3, address), "data")["v2"]
        hits += effect.low <= 0.5 + 0.05 + 0.1 / 3 <= effect.high
    assert 0.92 <= hits / 400 <= 0.98


def test_versions_that_do_not_differ_are_called_different_one_time_in_20() -> None:
    alarms = 0
    for address in range(400):
        draw = numpy_generator(address, "null")
        results = [
            Result({"data": data}, seed, draw.standard_normal())
            for data in ("v1", "v2", "v3", "v4")
            for seed in range(4)
        ]
        found = verdict(results, "accuracy")
        alarms += bool(found and found.real)
    assert alarms / 400 <= 0.07


def test_the_sentence_says_which_by_how_much_and_whether_it_is_real() -> None:
    real = verdict(experiment(0.2, 0.01, 3), "accuracy")
    assert real is not None
    assert (real.best, real.other, real.real) == ("v2", "v1", True)
    assert real.sentence.startswith("Dataset version v2 is better: 0.1959")
    assert "more than seed noise" in real.sentence
    luck = verdict(experiment(0.001, 0.2, 3), "accuracy")
    assert luck is not None
    assert luck.sentence.startswith("No difference between dataset versions")
    once = verdict(experiment(0.2, 0.01, 1), "accuracy")
    assert once is not None
    assert not once.real
    assert "--seeds 3" in once.sentence
    assert verdict(experiment(0.2, 0.01, 3)[:9], "accuracy") is None


def sampled(gain: float, address: int) -> list[Result]:
    """A Sobol sample over two versions, two methods and a range: hardly any setting with both
    versions.
    """
    factors = factors_of(
        ("v1", "v2"), ("pretrain.method=simclr,vicreg", "pretrain.learning_rate=1e-4..1e-2")
    )
    noise = numpy_generator(address, "sampled")
    found = []
    for cell in sobol(factors, range(2), 12):
        one = cell.configuration
        truth = 0.3 * (one["pretrain.method"] == "vicreg") + 0.1 * np.log10(
            one["pretrain.learning_rate"]
        )
        found.append(
            Result(
                one,
                cell.seed,
                truth + gain * (one["data"] == "v2") + 0.02 * noise.standard_normal(),
            )
        )
    return found


def test_a_sample_compares_versions_with_the_other_factors_held_equal() -> None:
    real = verdict(sampled(0.1, 0), "accuracy")
    assert real is not None
    assert (real.best, real.real) == ("v2", True)
    assert real.sentence.startswith("Dataset version v2 is better")
    found = [compare(sampled(0.1, address), "v2", "v1") for address in range(200)]
    covered = sum(one.low < 0.1 < one.high for one in found)
    assert covered >= 200 * 0.95 - 2 * np.sqrt(200 * 0.05 * 0.95)
    assert np.mean([one.value for one in found]) == pytest.approx(0.1, abs=0.005)


def test_lower_can_be_better() -> None:
    found = verdict(experiment(0.2, 0.01, 3), "loss", higher_is_better=False)
    assert found is not None
    assert found.best == "v1"
    assert "0.1959" in found.sentence
    assert "lower loss" in found.sentence


@pytest.mark.parametrize("higher", [True, False])
def test_a_version_without_shared_settings_is_never_the_best(higher: bool) -> None:
    """Nothing is known about v3 beside the others: v1 and v2 are compared all the same."""
    alone = [Result({"data": "v3", "method": "z"}, seed, 0.5) for seed in range(3)]
    found = verdict([*alone, *experiment(0.2, 0.01, 3)], "score", higher_is_better=higher)
    assert found is not None
    assert (found.best, found.other, found.real) == (
        ("v2", "v1", True) if higher else ("v1", "v2", True)
    )


def test_the_best_is_the_one_that_wins_where_the_two_were_compared() -> None:
    """a is far ahead of c, which makes its mean difference the largest; b, which was not run beside
    c, beats a.
    """
    settings = {("a", 1): 1.0, ("c", 1): 0.0, ("a", 2): 0.5, ("b", 2): 0.6}
    results = [
        Result({"data": data, "x": x}, seed, score + 0.001 * seed)
        for (data, x), score in settings.items()
        for seed in range(3)
    ]
    found = verdict(results, "accuracy")
    assert found is not None and found.real
    assert (found.best, found.other) == ("b", "a") and found.difference.value == pytest.approx(0.1)
    assert found.sentence.startswith(
        "Dataset version b is better, best of 3: 0.1 higher accuracy than a"
    )


def test_a_failed_cell_does_not_tilt_the_comparison() -> None:
    """Without v1's good method, plain means would call v2 far better than it is."""
    results = [
        r
        for r in experiment(0.0, 0.001, 3)
        if not (r.configuration["data"] == "v1" and r.configuration["method"] == "b")
    ]
    assert abs(compare(results, "v2", "v1").value) < 0.01


def test_without_repetition_intervals_are_infinite_and_without_shared_settings_nothing_is_said() -> (  # noqa: E501
    None
):
    results = [Result({"data": "v1", "a": 1}, 0, 0.5), Result({"data": "v2", "a": 2}, 0, 0.6)]
    assert math.isinf(estimate([0.5], seed_noise(results)).high)
    found = verdict(results, "accuracy")
    assert found is not None
    assert "nothing can be said" in found.sentence
