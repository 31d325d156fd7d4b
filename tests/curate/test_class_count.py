"""The mixture that counts classes, against chain-rule probabilities and data whose number of groups
is known.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import multivariate_normal, multivariate_t

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.random import numpy_generator
from stages.curate.gaussian_mixture import (
    CONCENTRATION,
    Prior,
    discover,
    log_split,
    nearest_component,
)
from tests.support.images import DIGITS, params_with, run_stage

NONE = -1


def drawn(seed: int, n: int, d: int) -> np.ndarray:
    return numpy_generator(seed, "points").normal(size=(n, d)) * 2 + 1


def one_by_one(prior: Prior, points: np.ndarray) -> float:
    """The probability of each point given those before it: a Student t whose parameters are updated
    point by point.
    """
    d = points.shape[1]
    mean, scatter, pull, weight = prior.mean.copy(), prior.scatter.copy(), prior.pull, prior.weight
    total = 0.0
    for point in points:
        freedom = weight - d + 1
        shape = scatter * (pull + 1) / (pull * freedom)
        total += multivariate_t(mean, shape, df=freedom).logpdf(point)
        scatter = scatter + np.outer(point - mean, point - mean) * pull / (pull + 1)
        mean = (pull * mean + point) / (pull + 1)
        pull, weight = pull + 1, weight + 1
    return total


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 4))
def test_evidence_against_predicting_one_point_at_a_time(seed, n, d):
    prior = Prior(np.zeros(d), np.eye(d) * 3, 0.5, d + 4.0)
    points = drawn(seed, n, d)
    assert np.isclose(prior.evidence(points), one_by_one(prior, points), rtol=1e-8)


def test_the_odds_of_a_split_against_the_formula_and_density_against_scipy():
    prior = Prior(np.zeros(2), np.eye(2), 0.1, 6.0)
    one, two = drawn(0, 5, 2), drawn(1, 7, 2) + 4
    sizes = np.log(CONCENTRATION) + gammaln(5) + gammaln(7) - gammaln(12)
    apart = (
        one_by_one(prior, one)
        + one_by_one(prior, two)
        - one_by_one(prior, np.concatenate([one, two]))
    )
    assert np.isclose(log_split(prior, one, two), sizes + apart)
    then = prior.after(one)
    expected = multivariate_normal(then.mean, then.scatter / (then.weight - 3)).logpdf(two)
    assert np.allclose(then.log_density(two), expected)


@pytest.mark.parametrize(("groups", "start"), [(3, 9), (7, 2), (1, 4)])
def test_groups_that_lie_apart_are_counted_from_above_and_from_below(groups, start):
    lot = numpy_generator(4, "groups")
    truth = np.repeat(np.arange(groups), 60)
    centres = np.eye(8)[:groups, :4] * 12 - np.eye(8)[:groups, 4:] * 12
    points = centres[truth] + lot.normal(size=(len(truth), 4))
    found = discover(points, np.full(len(truth), NONE), start, 60, lot)
    assert found.count == groups
    assert len(pd.DataFrame({"truth": truth, "found": found.component}).drop_duplicates()) == groups
    new = nearest_component(points + 0.1, points, found, np.full(len(truth), NONE))
    assert (new == found.component).all()


def test_known_classes_stay_whole_and_apart_and_the_rest_is_found():
    lot = numpy_generator(5, "known")
    truth = np.repeat(np.arange(4), 50)
    points = np.array([[0, 0], [1.5, 0], [20, 0], [0, 20]])[truth] + lot.normal(size=(200, 2))
    known = np.where((truth < 2) & (np.arange(200) % 2 == 0), truth, NONE)
    found = discover(points, known, 2, 60, lot)
    assert found.count == 4
    assert sorted(found.tied.tolist()) == [NONE, NONE, 0, 1]
    for one in (0, 1):  # they overlap, so only their labels tell them apart
        assert set(found.tied[found.component[known == one]]) == {one}


def test_the_operator_counts_the_digits_and_drops_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_stage("ingest", params_with(ingest={"labelled_fraction": 0}))
    run_stage("curate", params_with(curate={"steps": ["class_count"]}))
    frame = Manifest.read(paths.CURATED_MANIFEST).frame
    assert frame["keep"].all()
    table = pd.read_csv(paths.reports("curate") / "class_count.csv")
    assert 8 <= len(table) <= 13  # there are ten
    truth = DIGITS.target[[int(uri.rpartition(":")[2]) for uri in frame["uri"]]]
    main = pd.crosstab(frame["cluster"], truth).max(axis=1).sum() / len(frame)
    assert main > 0.7
    assert table["images"].sum() == frame["split"].isin(["train", "none"]).sum()
