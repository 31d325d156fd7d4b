"""Gates against controls: what is worse than labels alone, an untrained encoder or raw pixels does
not become champion.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.support.checkout import ROOT
from benchmarks.support.registry import answers, get, version
from flows.adapters.mlflow.store import Store
from flows.promotion import promote
from flows.promotion.evidence import Evidence, Verdict
from stages.core.params import load_params
from stages.core.sections import Promote


def judged(store: Store, gate: str, candidate: int) -> Verdict:
    """What a gate says of a first version."""
    evidence = Evidence(get(store, candidate), None, 1000)
    return promote.judge(evidence, Promote(resamples=1000, gates={gate: True}))[gate]


def controlled(accuracy: float, method: str = "linear", **rights: float) -> pd.DataFrame:
    """Predictions with this accuracy beside controls with theirs, right on images of their own."""
    table = answers(accuracy).assign(method=method)
    for number, (name, share) in enumerate(sorted(rights.items()), start=1):
        shuffled = np.random.default_rng(number).permutation(len(table))
        table[f"right_{name}"] = shuffled < round(share * len(table))
    return table


@pytest.mark.parametrize(
    ("accuracy", "rights", "passed", "reason"),
    [
        (
            0.9,
            {"scratch": 0.8, "random": 0.5, "pixels": 0.6},
            True,
            "strongest control: the same network trained from scratch",
        ),
        (0.9, {"scratch": 0.91}, True, "strongest control"),  # worse, but within the interval
        (0.7, {"scratch": 0.9}, False, "the same network trained from scratch is ahead by 0.2000"),
        (0.7, {"random": 0.9}, False, "a linear probe on an untrained encoder is ahead by 0.2000"),
        (0.467, {"scratch": 0.484, "pixels": 0.635}, False, "raw pixels is ahead by 0.16"),
        (0.6, {"scratch": 0.5, "pixels": 0.605}, False, "raw pixels is ahead by 0.0050"),
        (0.6, {"scratch": 0.5, "pixels": 0.6}, True, "a linear probe on raw pixels"),
    ],
)
def test_a_candidate_worse_than_a_control_is_refused(
    store: Store, accuracy: float, rights: dict[str, float], passed: bool, reason: str
) -> None:
    table = controlled(accuracy, **rights)
    number = int(version(store, Path("model"), "controlled", table).number)
    found = judged(store, "controls", number)
    assert found.passed is passed, found
    assert reason in found.reason


@pytest.mark.parametrize(
    ("method", "encoder", "pixels", "passed"),
    [
        ("linear", 0.7, 0.5, True),
        ("full", 0.55, 0.56, True),  # below, but within the interval
        ("full", 0.387, 0.547, False),
        ("scratch", 0.387, 0.547, None),
    ],
)
def test_an_encoder_whose_neighbours_say_less_than_raw_pixels_is_refused(
    store: Store, method: str, encoder: float, pixels: float, passed: bool | None
) -> None:
    table = controlled(0.9, method, encoder_knn=encoder, pixels_knn=pixels)
    number = int(version(store, Path("model"), "collapsed", table).number)
    found = judged(store, "collapsed", number)
    assert found.passed is passed, found
    if passed is False:
        assert found.reason.startswith("kNN 0.38")
        assert "on raw pixels" in found.reason
    if passed is None:
        assert found.reason == "trained from the labels alone"


def test_an_evaluation_that_kept_no_controls_is_told_to_be_run_again(store: Store) -> None:
    for gate in ("controls", "collapsed"):
        found = judged(store, gate, 1)
        assert (found.passed, found.value) == (False, "unknown")
        assert found.reason.endswith("rootstock run --force evaluate")


def test_by_default_what_is_worse_than_raw_pixels_does_not_become_champion(store: Store) -> None:
    table = controlled(
        0.467, scratch=0.484, random=0.3, pixels=0.635, encoder_knn=0.387, pixels_knn=0.547
    )
    number = int(version(store, Path("model"), "stranger", table).number)
    settings = load_params(ROOT / "params.yaml").promote
    found = promote.judge(Evidence(get(store, number), None, 1000), settings)
    refused = {name for name, verdict in found.items() if verdict.passed is False}
    assert refused == {"controls", "collapsed"}
