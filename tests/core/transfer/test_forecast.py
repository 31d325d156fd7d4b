"""Forecasts: work counted from the parameters, in words with the speed of this machine."""

from __future__ import annotations

from stages.core.budget import BUDGETS
from stages.core.image.backbones import create_backbone
from stages.core.transfer.forecast import OVERHEAD, count_passes, measure_speed, sentence

STANDARD = BUDGETS["standard"]


def test_pretraining_counts_every_image_view_and_pass() -> None:
    found = count_passes(STANDARD, epochs=7, images=100, labels=[50, 50], per_class=[])
    assert found["pretrain"] == 7 * 100 * 2 * 3


def test_a_budget_of_labels_that_takes_all_of_them_costs_nothing() -> None:
    without = count_passes(STANDARD, 1, 100, [20, 20], [])
    assert count_passes(STANDARD, 1, 100, [20, 20], [20]) == without
    few = count_passes(STANDARD, 1, 100, [20, 20], [5])
    one = 3 * 10 * STANDARD.steps  # ten labels: batches of ten
    assert few["evaluate"] - without["evaluate"] == 2 * STANDARD.draws * one


def test_a_longer_budget_forecasts_more_of_everything() -> None:
    quick = count_passes(BUDGETS["quick"], 5, 100, [30, 30], [1, 5])
    standard = count_passes(STANDARD, 5, 100, [30, 30], [1, 5])
    assert quick["finetune"] < standard["finetune"] and quick["evaluate"] < standard["evaluate"]


def test_images_without_labels_need_no_supervised_training() -> None:
    assert count_passes(STANDARD, 1, 100, [], [1, 5]) == {
        "pretrain": 600,
        "finetune": 0,
        "evaluate": 400,
    }


def test_the_sentence_adds_up() -> None:
    told = sentence({"pretrain": 600, "finetune": 1200}, OVERHEAD * 10)
    assert told == (
        "about 3:00 to the end of the run on this machine: pretrain 1:00, finetune 2:00"
    )


def test_a_smaller_network_is_faster() -> None:
    large, small = (
        measure_speed(create_backbone("test_resnet", 1, size, 0, "half"), 1, size)
        for size in (64, 16)
    )
    assert 0 < large < small
