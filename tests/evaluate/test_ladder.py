"""The ladder: which labels a budget buys, what is chosen on validation, what is compared with
what.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from stages.core.metrics.intervals import paired_bootstrap
from stages.core.metrics.representation import knn_predict
from stages.evaluate.comparison import Table, controls
from stages.evaluate.ladder import (
    ALL,
    Budget,
    Labelled,
    Row,
    Subject,
    Truth,
    budgets,
    frozen_rows,
)
from stages.evaluate.protocols import knn, linear, nearest_mean, propagated
from stages.evaluate.report.findings import sentences
from stages.evaluate.subsets import draw_labels, spread


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 8), st.integers(0, 5))
def test_a_draw_has_so_many_of_each_class_and_grows_by_adding(
    labels: list[int], per_class: int, draw: int
) -> None:
    numbers = np.array(labels)
    fewer, more = (
        draw_labels(numbers, per_class, draw, seed=0),
        draw_labels(numbers, per_class + 2, draw, seed=0),
    )
    for label in np.unique(numbers):
        assert (numbers[fewer] == label).sum() == min(per_class, (numbers == label).sum())
    assert set(fewer) <= set(more)
    assert len(set(fewer)) == len(fewer)


def test_draws_differ_and_repeat() -> None:
    labels = np.repeat(np.arange(3), 30)
    assert not np.array_equal(draw_labels(labels, 2, 0, seed=0), draw_labels(labels, 2, 1, seed=0))
    np.testing.assert_array_equal(
        draw_labels(labels, 2, 0, seed=0), draw_labels(labels, 2, 0, seed=0)
    )


def test_a_cap_keeps_the_shares_of_the_classes() -> None:
    labels = np.array([0] * 800 + [1] * 200)
    rows = np.arange(1000) * 3
    kept = spread(rows, labels, 100, seed=0)
    assert len(kept) == 100 and (np.diff(kept) > 0).all()
    assert abs((kept >= 2400).sum() - 20) <= 1
    np.testing.assert_array_equal(spread(rows, labels, 1000, seed=0), rows)


def test_a_budget_that_takes_every_label_is_all_labels() -> None:
    steps = budgets(np.repeat(np.arange(3), 5), (1, 5, 20), draws=2, seed=0)
    assert [step.name for step in steps] == ["1", ALL]
    assert steps[-1].images == 15 and len(steps[-1].draws) == 1 and len(steps[0].draws) == 2


def digits() -> tuple[Labelled, Truth]:
    images, labels = load_digits(return_X_y=True)
    parts = (slice(0, 300), slice(300, 500), slice(500, 800))
    features = Labelled(*(images[part].astype(np.float32) for part in parts))
    return features, Truth(*(labels[part].astype(np.int64) for part in parts), classes=10)  # type: ignore[misc]


def subject(features: Labelled, truth: Truth) -> Subject:
    return Subject("pixels", features, truth, neighbours=20, draws=2)


def test_neighbours_are_those_that_validate_best_and_test_is_untouched_by_it() -> None:
    features, truth = digits()
    step = budgets(truth.train, (3,), draws=2, seed=0)[0]
    row = knn.row(subject(features, truth), step)
    by_k = {
        k: np.mean(
            [
                (
                    knn_predict(features.train[d], truth.train[d], features.validation, k)
                    == truth.validation
                ).mean()
                for d in step.draws
            ]
        )
        for k in (1, 3, 5, 10, 20)
    }
    assert row.validation == pytest.approx(max(by_k.values()))
    assert row.chosen == f"k = {min(k for k in by_k if by_k[k] == max(by_k.values()))}"
    other = Labelled(features.train, features.validation, features.test[::-1])
    assert knn.row(subject(other, truth), step).chosen == row.chosen
    first, second = (linear.row(subject(own, truth), step) for own in (other, features))
    assert first.chosen == second.chosen


def test_more_labels_give_more_accuracy_on_digits() -> None:
    features, truth = digits()
    steps = budgets(truth.train, (1, 5), 3, 0)
    rows = frozen_rows(subject(features, truth), steps, ["knn", "linear"])
    knn = {row.budget: row.accuracy for row in rows if row.protocol == "knn"}
    assert knn["1"] < knn["5"] < knn[ALL]
    assert rows[0].correct.shape == (300, 3)


def test_the_nearest_class_mean_is_that_of_a_loop_over_images() -> None:
    features, truth = digits()
    step = budgets(truth.train, (3,), draws=2, seed=0)[0]
    row = nearest_mean.row(subject(features, truth), step)
    for draw, answers in zip(step.draws, row.predicted.T, strict=True):
        means = []
        for label in range(truth.classes):
            own = features.train[draw][truth.train[draw] == label].astype(np.float64)
            mean = sum(vector / np.linalg.norm(vector) for vector in own)
            means.append(mean / np.linalg.norm(mean))
        for image, answer in zip(features.test[:50], answers[:50], strict=True):
            similarities = [float(image @ mean) for mean in means]
            assert answer == int(np.argmax(similarities))
    assert row.accuracy > 0.6 and row.draws == 2


def test_the_mean_of_no_image_is_never_the_nearest() -> None:
    features = np.array([[1.0, 0.0], [0.9, 0.1]], dtype=np.float32)
    means = nearest_mean.class_means(features, np.array([0, 0]), 2)
    assert nearest_mean.nearest(means, np.array([[-1.0, -1.0]], dtype=np.float32)).tolist() == [0]


def test_labels_are_propagated_only_where_images_without_a_label_are_given() -> None:
    features, truth = digits()
    step = budgets(truth.train, (1,), draws=3, seed=0)[0]
    own = subject(features, truth)
    assert propagated.row(own, step) is None
    given = replace(own, spread=(features, features.test))
    found = propagated.row(given, step)
    assert found is not None and found.draws == 2
    assert frozen_rows(own, [step], ["propagated"]) == []


def fake(
    model: str,
    budget: str,
    accuracy: float,
    draws: int = 1,
    protocol: str = "linear",
    seed: int = 0,
) -> Row:
    correct = np.random.default_rng(seed).random((400, draws)) < accuracy
    return answered(model, protocol, budget, correct, accuracy)


def answered(model: str, protocol: str, budget: str, correct: np.ndarray, validation: float) -> Row:
    """A row whose answers are right where ``correct`` (images, draws) says so."""
    truth = np.zeros(len(correct), dtype=np.int64)
    predicted = np.where(correct, 0, 1)
    return Row(model, protocol, budget, 10, predicted, truth, validation, "")


def table(gain: float, *more: Row, pixels: float = 0.5) -> Table:
    rows = [
        fake("pixels", ALL, pixels),
        fake("pretrained", ALL, 0.65),
        fake("random", ALL, 0.65),
        fake("distilled", ALL, 0.65),
    ]
    return Table(
        [
            *rows,
            fake("scratch", ALL, 0.7, protocol="full"),
            fake("finetuned", ALL, 0.7 + gain, protocol="picked"),
            *more,
        ],
        500,
        0,
    )


def test_a_comparison_is_the_paired_bootstrap_over_shared_draws() -> None:
    first, second = (
        fake("pretrained", "5", 0.8, draws=5, seed=1),
        fake("pixels", "5", 0.6, draws=3, seed=2),
    )
    found = Table([first, second], 300, seed=4).compare(first, second).difference
    expected = paired_bootstrap(
        first.correct[:, :3].astype(float), second.correct.astype(float), 300, seed=4
    )
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def test_the_page_says_so_when_pretraining_helped_made_no_difference_or_hurt() -> None:
    assert "helped on these images at every number" in sentences(table(0.2))[0]
    assert "no measurable difference" in sentences(table(0.0))[0]
    assert "did not help" in sentences(table(-0.2))[0]
    assert "no difference (0.0 points" in sentences(table(0.0))[1]


def test_the_verdict_compares_with_the_strongest_control_and_names_it() -> None:
    told = sentences(table(0.0, pixels=0.9))
    assert "did not help" in told[0]
    assert "the strongest control, raw pixels, 87.5 %" in told[1]
    assert table(0.0, pixels=0.9).headlines()[0].second.model == "pixels"
    assert (
        "the strongest control, the same network trained from scratch" in sentences(table(0.2))[1]
    )


def test_the_strongest_control_is_picked_on_validation_not_on_test() -> None:
    modest = answered("pixels", "knn", ALL, np.ones((400, 1)), 0.1)
    found = table(0.0, modest).strongest_control(ALL)
    assert found is not None
    assert found.model == "scratch"


def test_rows_short_of_their_plateau_are_counted_in_a_sentence() -> None:
    hobbled = replace(fake("scratch", "5", 0.3, protocol="full"), undertrained=True)
    told = sentences(table(0.2, hobbled))
    assert told[-1].startswith("Marked rows (1) were trained for fewer steps than their plateau")
    assert not [one for one in sentences(table(0.2)) if "plateau" in one]


def test_a_classifier_from_labels_alone_is_said_to_owe_pretraining_nothing() -> None:
    rows = table(0.0).rows
    shipped = [
        replace(row, chosen="scratch" if row.model == "finetuned" else row.chosen) for row in rows
    ]
    told = sentences(Table(shipped, 500, 0))
    assert any("labels alone do as well with all labels" in one for one in told)
    assert not [one for one in sentences(table(0.0)) if "labels alone" in one]


def test_gates_get_the_controls_of_all_labels() -> None:
    few = fake("scratch", "5", 0.3, protocol="full")
    knn = [fake(model, ALL, 0.5, protocol="knn") for model in ("pixels", "pretrained")]
    found = controls(table(0.0, few, *knn))
    assert {name: (row.model, row.protocol, row.budget) for name, row in found.items()} == {
        "scratch": ("scratch", "full", ALL),
        "pixels": ("pixels", "linear", ALL),
        "random": ("random", "linear", ALL),
        "pixels_knn": ("pixels", "knn", ALL),
        "encoder_knn": ("pretrained", "knn", ALL),
    }


def test_what_cannot_be_told_apart_is_not_said_to_win() -> None:
    third = sentences(table(0.2))[2]
    assert "beats raw pixels" in third and "is no different from an untrained encoder" in third


def test_the_best_way_of_using_a_model_is_picked_on_validation() -> None:
    better_on_test = answered("pretrained", "knn", ALL, np.ones((50, 1)), 0.5)
    better_on_validation = answered("pretrained", "linear", ALL, np.zeros((50, 1)), 0.9)
    assert (
        Table([better_on_test, better_on_validation], 100, 0).best("pretrained", ALL)
        is better_on_validation
    )


def test_budget_counts_its_images() -> None:
    assert Budget("2", (np.arange(6), np.arange(6))).images == 6
