"""The operators of choice against naive loops, and on pools whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core import paths
from stages.core.data.manifest import Manifest
from stages.core.errors import ConfigError
from stages.core.random import numpy_generator
from stages.curate.operators.contrastive_subset import most_similar, proportional
from stages.curate.operators.prototypes import owners
from stages.curate.operators.target_coreset import choose
from tests.support.images import class_folders, params_with, run_stage


@settings(max_examples=80)
@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.integers(1, 25),
    st.floats(0, 1),
    st.integers(0, 30),
)
def test_coreset_rounds_against_a_plain_loop(seed, centres, pool, stop, most):
    likeness = numpy_generator(seed, "c").random((centres, pool)).astype(np.float32)
    left, chosen, first = list(range(pool)), [], None
    while left and len(chosen) < most:
        picks = [
            max(left, key=lambda image: (likeness[centre, image], -image))
            for centre in range(centres)
        ]
        total = sum(float(likeness[centre, pick]) for centre, pick in enumerate(picks))
        first = total if first is None else first
        if total < stop * first:
            break
        for pick in dict.fromkeys(picks):
            if len(chosen) < most:
                chosen.append(pick)
                left.remove(pick)
    assert choose(likeness, stop, most)[0].tolist() == sorted(chosen)


def test_the_first_choice_is_the_image_most_like_all_others():
    for seed in range(10):
        points = numpy_generator(seed, "f").normal(size=(9, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        table = np.maximum(points @ points.T, 0)
        assert most_similar(table, 1).tolist() == [int((table.sum(axis=1) - 1).argmax())]
        assert len(most_similar(table, 20)) == 9


@given(st.lists(st.integers(0, 50), min_size=1, max_size=10), st.floats(0, 1))
def test_proportional_shares_are_whole_exact_and_off_by_less_than_one(sizes, share):
    sizes = np.array(sizes)
    count = int(share * sizes.sum())
    shares = proportional(sizes, count)
    assert shares.sum() == count
    assert (np.abs(shares - sizes * count / max(sizes.sum(), 1)) < 1).all()
    assert (shares <= sizes).all()


def test_owners_count_rates_not_images():
    counts = np.array([[100, 10], [0, 5], [95, 0], [5, 85]])
    assert owners(counts, 0.95).tolist() == [-1, 1, 0, 1 if 0.85 / (0.85 + 0.025) >= 0.95 else -1]


@pytest.fixture(scope="module")
def _mixed(tmp_path_factory):
    """A target of synthetic shapes; a pool of other synthetic shapes and of digits."""
    root = tmp_path_factory.mktemp("mixed")
    source = [
        {"from": "synthetic:images=300", "name": "shapes"},
        {"from": "synthetic:images=300,seed=5", "name": "crawl", "role": "pool"},
        {"from": f"folder:{class_folders(root / 'in', per_class=60)}", "role": "pool"},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_stage("ingest", params_with(ingest={"source": source, "labelled_fraction": 1}))
    return root


@pytest.fixture
def mixed(_mixed, monkeypatch):
    """Ingested once; curate writes its outputs anew."""
    monkeypatch.chdir(_mixed)


def curate(**changes) -> pd.DataFrame:
    run_stage("curate", params_with(curate=changes))
    return Manifest.read(paths.CURATED_MANIFEST).frame


def test_the_coreset_prefers_what_looks_like_the_target(mixed):
    frame = curate(steps=[{"target_coreset": {"centres": 30, "stop": 0.8}}])
    kept = frame[frame["keep"]].groupby("source").size()
    assert kept["shapes"] == 300
    assert kept["crawl"] > 2 * kept.get("folder", 0)
    gone = frame[~frame["keep"]]
    assert gone["reason"].str.startswith("target_coreset: ").all()


def test_a_target_that_is_too_small_is_refused(mixed):
    with pytest.raises(ConfigError, match="too few to choose a pool by"):
        curate(steps=[{"target_coreset": {"min_target": 1000}}])


def test_the_contrastive_subset_meets_the_budget_and_keeps_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_stage(
        "ingest",
        params_with(
            ingest={
                "source": f"folder:{class_folders(tmp_path / 'in', per_class=100)}",
                "store_size": 8,
            }
        ),
    )
    before = Manifest.read(paths.POOL_MANIFEST)
    curate(budget=0.6, encoder="scattering", steps=["contrastive_subset"])
    after = Manifest.read(paths.CURATED_MANIFEST)
    assert len(after.pretraining_rows()) == round(0.6 * len(before.pretraining_rows()))
    assert (after.labelled_rows("train") == before.labelled_rows("train")).all()
    assert set(after.frame.loc[~after.kept, "reason"]) == {
        "contrastive_subset: its views resemble few others of its cluster"
    }


def test_outliers_are_the_odd_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = [
        {"from": f"folder:{class_folders(tmp_path / 'in', per_class=80)}", "role": "pool"},
        {"from": "synthetic:images=4", "role": "pool"},
    ]
    run_stage("ingest", params_with(ingest={"source": source}))
    frame = curate(steps=[{"outliers": {"share": 4 / 244}}])
    assert (frame.loc[~frame["keep"], "source"] == "synthetic").sum() >= 3
